"""What real SDKs make of keys."""

from __future__ import annotations

import json

import pytest

from tests.clients.conftest import begin, serve


@pytest.fixture(scope="module")
def locked(model):
    """An rbee with a key that is good, one that is revoked and one that is used up."""
    home = serve(model)
    made = {}
    for name, flags in (("good", ()), ("revoked", ()), ("slow", ("--rpm", "1"))):
        outcome = home.keeper("keys", "create", "--json", *flags)
        assert outcome.code == 0, str(outcome)
        made[name] = json.loads(outcome.out)["key"]
    home.keeper("keys", "revoke", made["revoked"])
    home.key = made["good"]
    head = {"authorization": f"Bearer {made['slow']}"}
    assert home.ask("POST", "/tokenize", json={"model": "tiny", "content": "x"}, headers=head)
    yield home, {**made, "unknown": "any"}
    home.end()


@pytest.mark.parametrize("client", ["openai", "openai-2", "anthropic"])
@pytest.mark.parametrize(
    ("name", "raised", "status", "code"),
    [
        ("unknown", "AuthenticationError", 401, "KEY_INVALID"),
        ("revoked", "AuthenticationError", 401, "KEY_REVOKED"),
        ("slow", "RateLimitError", 429, "RATE_LIMITED"),
    ],
)
def test_a_refused_key_is_an_error_of_its_class(locked, client, name, raised, status, code):
    """Raised as what SDK users catch, with our code inside."""
    home, keys = locked
    told = begin(client, "once", home.url, keys[name]).rest()[-1]
    assert raised in told["raised"] and told["status_code"] == status
    assert code in str(told["body"])


@pytest.mark.parametrize("client", ["openai", "openai-2", "anthropic"])
def test_a_good_key_is_served(locked, client):
    """OpenAI's SDKs send it as Bearer, Anthropic's as x-api-key."""
    home, keys = locked
    (told,) = begin(client, "once", home.url, keys["good"]).rest()
    assert told.get("sent") == [200, 200] or told.get("served")


def test_a_refused_key_is_not_tried_again(locked):
    """The SDK's own retries stay away from what cannot change."""
    home, keys = locked
    told = begin("openai", "errors", home.url, keys["revoked"]).rest()
    assert [one["sent"] for one in told if "sent" in one] == [[401]] * 3
