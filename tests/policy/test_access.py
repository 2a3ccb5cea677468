"""Who may call."""

import pytest

from rbee.policy.access import (
    Allowed,
    HostForbidden,
    OriginForbidden,
    check,
    hostname,
    is_loopback,
    may_bind,
)

LOOPBACK = ("loopback",)


@pytest.mark.parametrize(
    "host", ["127.0.0.1:7833", "localhost", "LocalHost:1", "[::1]:7833", "127.0.0.1"]
)
def test_loopback_names_are_answered(host):
    """Every way to name this machine's loopback works, with any port."""
    assert check(host, None, origins=LOOPBACK, bound="127.0.0.1") == Allowed()


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "", "a@127.0.0.1", "127.0.0.1/x", "[::1"]
)
def test_other_hosts_are_refused(host):
    """A page that rebinds its own name to 127.0.0.1 still sends that name."""
    assert check(host, None, origins=LOOPBACK, bound="127.0.0.1") == HostForbidden(host)


def test_a_listed_origin_is_also_a_listed_host():
    """`origins` is the one list that a person keeps."""
    origins = ("https://chat.home",)

    assert check("chat.home", None, origins=origins, bound="127.0.0.1") == Allowed()
    assert check("localhost", "https://chat.home", origins=origins, bound="127.0.0.1") == Allowed(
        "https://chat.home"
    )


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "file://", "http://localhost.evil"]
)
def test_pages_from_elsewhere_are_refused(origin):
    """A web page may not use the visitor's rbee."""
    found = check("localhost", origin, origins=LOOPBACK, bound="127.0.0.1")

    assert found == OriginForbidden(origin)


def test_pages_of_this_machine_are_allowed_unless_the_word_is_removed():
    """`loopback` in origins stands for any port of this machine."""
    page = "http://localhost:3000"

    assert check("localhost", page, origins=LOOPBACK, bound="127.0.0.1") == Allowed(page)
    assert check("localhost", page, origins=(), bound="127.0.0.1") == OriginForbidden(page)


def test_every_address_of_a_machine_that_listens_everywhere():
    """An address cannot be rebound, only a name can; bound to one address it is that one."""
    for host in ("192.0.2.7:7833", "[2001:db8::1]:7833"):
        for bound in ("0.0.0.0", "::"):
            assert check(host, None, origins=LOOPBACK, bound=bound) == Allowed()
        assert check(host, None, origins=LOOPBACK, bound="127.0.0.1") == HostForbidden(host)
    assert check("192.0.2.7", None, origins=LOOPBACK, bound="192.0.2.7") == Allowed()
    for name in ("evil.example", "192.0.2.7.evil.example", "1.2.3"):
        assert check(name, None, origins=LOOPBACK, bound="0.0.0.0") == HostForbidden(name)


def test_others_are_let_near_only_with_keys():
    """Without any, rbee stays on the loopback address."""
    assert may_bind("127.0.0.1", keys=0) and may_bind("0.0.0.0", keys=1)
    assert not may_bind("0.0.0.0", keys=0) and not may_bind("192.0.2.7", keys=0)


def test_only_loopback_addresses_count_as_loopback():
    """0.0.0.0 and :: reach beyond this machine."""
    assert is_loopback("127.0.0.1") and is_loopback("::1") and is_loopback("127.9.9.9")
    assert not is_loopback("0.0.0.0") and not is_loopback("::") and not is_loopback("192.0.2.1")
    assert hostname("example.org:99999") is None
