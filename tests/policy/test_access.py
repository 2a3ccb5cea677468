"""Who may call."""

import pytest

from rbee.policy.access import (
    Allowed,
    HostForbidden,
    OriginForbidden,
    check,
    hostname,
    is_loopback,
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


def test_only_loopback_addresses_count_as_loopback():
    """0.0.0.0 and :: reach beyond this machine."""
    assert is_loopback("127.0.0.1") and is_loopback("::1") and is_loopback("127.9.9.9")
    assert not is_loopback("0.0.0.0") and not is_loopback("::") and not is_loopback("192.0.2.1")
    assert hostname("example.org:99999") is None
