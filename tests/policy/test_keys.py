"""What a key is and what it opens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from rbee.policy import keys
from rbee.policy.keys import Caller, KeyLimits, Refused, judge, make, needed, presented
from rbee.wire.keys import KeyAsk, KeyRecord

NOW = 1_800_000_000.0
ID, SECRET = "abcd1234", "5e" * 32


def made(**asked: object) -> tuple[str, KeyRecord]:
    return make(KeyAsk(**asked), id_=ID, secret=SECRET, now=NOW)  # type: ignore[arg-type]


def test_a_key_opens_what_its_roles_say() -> None:
    """The one who holds it is known by its id, with its limits."""
    key, record = made(rpm=60, tpm=1000, concurrent=2)
    assert judge(key, {ID: record}, now=NOW) == Caller(ID, ("infer",), KeyLimits(60, 1000, 2))


def test_an_admin_may_infer() -> None:
    """Whoever can make keys would make themselves one for that."""
    key, record = made(roles=("admin",))
    found = judge(key, {ID: record}, now=NOW)
    assert isinstance(found, Caller)
    assert found.admin and keys.may(found, "infer") and keys.may(found, "admin")


def test_what_is_kept_does_not_hold_the_secret() -> None:
    """Only the SHA-256 of a key is written down."""
    key, record = made(name="laptop")
    assert key == f"rb_{ID}_{SECRET}"
    assert SECRET not in repr(record) and len(record.sha256) == 64


@pytest.mark.parametrize(
    ("key", "code"),
    [
        ("", "KEY_MISSING"),
        ("any", "KEY_INVALID"),
        ("sk-0123456789", "KEY_INVALID"),
        (f"rb_{ID}_{'00' * 32}", "KEY_INVALID"),
        (f"rb_{ID}_{SECRET[:-1]}", "KEY_INVALID"),
        (f"rb_{ID}_{SECRET}0", "KEY_INVALID"),
        (f"rb_{ID.upper()}_{SECRET}", "KEY_INVALID"),
        (f"rb_zzzz9999_{SECRET}", "KEY_INVALID"),
        (f"rb_{ID}_{SECRET}\n", "KEY_INVALID"),
        (f"rb_{ID}_" + "\u0661" * 64, "KEY_INVALID"),
    ],
)
def test_other_keys_open_nothing(key: str, code: str) -> None:
    """A wrong secret is no better than an unknown id, and no part of it is told back."""
    assert judge(key, {ID: made()[1]}, now=NOW) == Refused(code)


def test_an_end_in_time_is_told_to_its_holder_only() -> None:
    """The time of expiry needs the right secret; at that very second it is over."""
    key, record = made(expires_at=NOW + 60)
    records = {ID: record}
    assert isinstance(judge(key, records, now=NOW + 59.9), Caller)
    told = {"key": ID, "expired_at": keys.moment(NOW + 60)}
    assert judge(key, records, now=NOW + 60) == Refused("KEY_EXPIRED", told)
    assert judge(f"rb_{ID}_{'00' * 32}", records, now=NOW + 60) == Refused("KEY_INVALID")


def test_a_revoked_key_stays_revoked() -> None:
    """Also when it would have expired since."""
    key, record = made(expires_at=NOW + 60)
    revoked = structs.replace(record, revoked_at=NOW + 1)
    found = judge(key, {ID: revoked}, now=NOW + 3600)
    assert isinstance(found, Refused) and found.code == "KEY_REVOKED"
    assert found.facts["revoked_at"] == "2027-01-15T08:00:01Z"
    assert [keys.state(one, NOW + 3600) for one in (record, revoked)] == ["expired", "revoked"]
    assert keys.state(record, NOW) == "valid"


@pytest.mark.parametrize(
    ("authorization", "api_key", "found"),
    [
        (None, None, ""),
        ("Bearer rb_1", None, "rb_1"),
        ("bearer  rb_1 ", None, "rb_1"),
        (None, "rb_2", "rb_2"),
        ("Bearer rb_1", "rb_2", "rb_1"),
        ("Bearer any", "rb_2", "rb_2"),
        ("Bearer any", "other", "any"),
        ("Basic cmI6eA==", None, ""),
        ("rb_1", None, ""),
    ],
)
def test_where_a_key_may_stand(authorization: str | None, api_key: str | None, found: str) -> None:
    """OpenAI's SDKs send one header, Anthropic's the other, some both."""
    assert presented(authorization, api_key) == found


def test_when_a_key_is_needed() -> None:
    """Without keys, and on this machine alone, every key will do."""
    assert not needed(0, loopback=True)
    assert needed(1, loopback=True) and needed(0, loopback=False) and needed(3, loopback=False)


@pytest.mark.parametrize(
    "asked",
    [
        {"roles": ()},
        {"roles": ("root",)},
        {"name": "x" * 101},
        {"name": "a\nb"},
        {"expires_at": NOW},
        {"expires_at": 1e18},
        {"expires_at": float("nan")},
        {"rpm": -1},
        {"tpm": 10**12},
    ],
)
def test_what_makes_no_key(asked: dict[str, object]) -> None:
    """Refused before anything is written."""
    with pytest.raises(ValueError, match=r"\w"):
        made(**asked)


@given(st.text(max_size=120))
def test_any_text_is_judged(key: str) -> None:
    """Whatever stands in the header, the answer is a refusal and never an exception."""
    found = judge(key, {ID: made()[1]}, now=NOW)
    assert isinstance(found, Refused) and not found.facts
