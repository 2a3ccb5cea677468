"""Keys at the door, over real sockets."""

import asyncio
import json
import re
import time

import pytest

from rbee.policy.keys import KeyLimits
from rbee.wire.keys import KeyAsk
from tests.queen.stage import DONE, END, HEAD, MODEL, USAGE, WHOLE, Engine, chunk, event, say, stage

CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}


def on_stage(tmp_path, body, play=None, *, host="127.0.0.1"):
    async def run():
        engine = Engine(play or say(WHOLE))
        async with stage(tmp_path, host=host) as here, engine.running():
            here.worker(engine)
            await body(here)

    asyncio.run(run())


def key(here, **asked):
    return here.core.keys.create(KeyAsk(**asked), time.time()).key


def bearer(text):
    return {"authorization": f"Bearer {text}"}


async def refusal(here, headers, path="/v1/models", method="GET", **how):
    answer = await here.client.request(method, path, headers=headers, **how)
    return answer.status_code, answer.json()["error"]["code"]


def test_without_keys_any_key_will_do(tmp_path):
    """SDKs demand a key; on this machine alone it need not be one of ours."""

    async def body(here):
        for headers in ({}, bearer("any"), {"x-api-key": "sk-1"}):
            assert (await here.client.get("/v1/models", headers=headers)).status_code == 200
        assert await refusal(here, bearer("any"), "/rbee/keys") == (403, "ADMIN_ONLY")

    on_stage(tmp_path, body)


def test_the_first_key_closes_the_door(tmp_path):
    """Also on the loopback address: a proxy in front connects from there."""

    async def body(here):
        mine = key(here)
        assert await refusal(here, {}) == (401, "KEY_MISSING")
        assert await refusal(here, bearer("any")) == (401, "KEY_INVALID")
        assert await refusal(here, bearer(mine[:-1])) == (401, "KEY_INVALID")
        for headers in (bearer(mine), {"x-api-key": mine}, {**bearer("any"), "x-api-key": mine}):
            assert (await here.client.get("/v1/models", headers=headers)).status_code == 200
        for path in ("/health", "/", "/openapi.json"):
            assert (await here.client.get(path)).status_code == 200
        told = (await here.client.get("/metrics", headers=bearer(mine))).text
        assert 'rbee_refused_total{code="KEY_INVALID"} 2.0' in told
        for path in ("/metrics", "/rbee/ps", "/rbee/status", "/rbee/models"):
            assert await refusal(here, {}, path) == (401, "KEY_MISSING")
            assert (await here.client.get(path, headers=bearer(mine))).status_code == 200

    on_stage(tmp_path, body)


def test_without_keys_another_address_opens_nothing(tmp_path):
    """Whatever was forgotten while it ran: beyond this machine a key is always asked for."""

    async def body(here):
        assert await refusal(here, {}) == (401, "KEY_MISSING")

    on_stage(tmp_path, body, host="192.0.2.1")


def test_a_refusal_says_who_may_retry(tmp_path):
    """SDKs raise AuthenticationError and do not ask again; Anthropic's reads another envelope."""

    async def body(here):
        key(here)
        answer = await here.client.post("/v1/chat/completions", json=CHAT)
        assert answer.json()["error"]["type"] == "authentication_error"
        assert answer.headers["x-should-retry"] == "false"
        assert answer.headers["www-authenticate"] == "Bearer"
        answer = await here.client.post("/v1/messages", json=CHAT)
        assert (answer.status_code, answer.json()["type"]) == (401, "error")
        assert answer.json()["error"]["type"] == "authentication_error"

    on_stage(tmp_path, body)


def test_roles(tmp_path):
    """Inference keys administer nothing; admin keys do both, over the network too."""

    async def body(here):
        user, admin = key(here), key(here, roles=("admin",))
        assert await refusal(here, bearer(user), "/rbee/keys") == (403, "KEY_ROLE")
        listed = (await here.client.get("/rbee/keys", headers=bearer(admin))).json()["keys"]
        assert [one["roles"] for one in listed] == [["infer"], ["admin"]]
        assert all(part not in str(listed) for part in (user.split("_")[2], "sha256"))
        answer = await here.client.post("/v1/chat/completions", json=CHAT, headers=bearer(admin))
        assert answer.status_code == 200

    on_stage(tmp_path, body)


def test_keys_are_made_and_revoked_over_http(tmp_path):
    """A new key works from the next request on, and a revoked one no more from its next."""

    async def body(here):
        admin = bearer(key(here, roles=("admin",)))
        asked = {"name": "laptop", "expires_at": time.time() + 60, "rpm": 9}
        made = (await here.client.post("/rbee/keys/create", json=asked, headers=admin)).json()
        mine = bearer(made["key"])
        assert (made["name"], made["state"], made["rpm"]) == ("laptop", "valid", 9)
        assert (await here.client.get("/v1/models", headers=mine)).status_code == 200
        gone = await here.client.post("/rbee/keys/revoke", json={"id": made["id"]}, headers=admin)
        assert (gone.json()["state"], gone.json()["left"]) == ("revoked", 2)
        assert await refusal(here, mine) == (401, "KEY_REVOKED")
        again = {"headers": admin, "method": "POST"}
        none = {"json": {"id": "nope"}}
        assert await refusal(here, path="/rbee/keys/revoke", **again, **none) == (
            404,
            "KEY_NOT_FOUND",
        )
        bad = {"json": {"roles": ["root"]}}
        assert await refusal(here, path="/rbee/keys/create", **again, **bad) == (
            400,
            "INVALID_REQUEST",
        )

    on_stage(tmp_path, body)


def test_a_stream_outlives_its_key(tmp_path):
    """What has begun ends normally; the next request is told when the key expired."""
    go_on = asyncio.Event()

    async def play(engine, reader, writer, body):
        writer.write(HEAD + chunk(event(content="Hel")))
        await writer.drain()
        await go_on.wait()
        for part in (event(content="lo"), event("stop"), USAGE, DONE):
            writer.write(chunk(part))
        writer.write(END)

    async def body(here):
        mine = key(here, expires_at=time.time() + 3600)
        head = bearer(mine)
        request = here.client.stream(
            "POST", "/v1/chat/completions", json={**CHAT, "stream": True}, headers=head
        )
        async with request as answer:
            lines = answer.aiter_lines()
            first = await anext(lines)
            here.core.keys.revoke(mine.split("_")[1], time.time())
            assert await refusal(here, head) == (401, "KEY_REVOKED")
            go_on.set()
            text = first + "".join([line async for line in lines])
        assert '"stop"' in text and text.endswith("[DONE]")

    on_stage(tmp_path, body, play)


def test_an_expired_key_is_told_its_time(tmp_path):
    """With the moment in the message and in the details."""

    async def body(here):
        now = time.time()
        mine = here.core.keys.create(KeyAsk(expires_at=now - 5), now - 10).key
        answer = await here.client.get("/v1/models", headers=bearer(mine))
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (401, "KEY_EXPIRED")
        assert error["details"]["expired_at"] in error["message"]

    on_stage(tmp_path, body)


def test_requests_a_minute(tmp_path):
    """Each answer tells what is left; the one too many is told how long to wait."""

    async def body(here):
        head = bearer(key(here, rpm=2))
        left = []
        for _ in range(2):
            answer = await here.client.post("/v1/chat/completions", json=CHAT, headers=head)
            assert answer.headers["x-ratelimit-limit-requests"] == "2"
            left.append(answer.headers["x-ratelimit-remaining-requests"])
        assert left == ["1", "0"]
        answer = await here.client.post("/v1/chat/completions", json=CHAT, headers=head)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (429, "RATE_LIMITED")
        assert error["type"] == "rate_limit_error"
        assert 28 <= int(answer.headers["retry-after"]) <= 30
        assert answer.headers["x-ratelimit-remaining-requests"] == "0"
        assert re.fullmatch(r"1m0s|59\.\d+s", answer.headers["x-ratelimit-reset-requests"])
        assert (await here.client.get("/v1/models", headers=head)).status_code == 200

    on_stage(tmp_path, body)


@pytest.mark.parametrize("stream", [True, False])
def test_tokens_a_minute(tmp_path, stream):
    """Reserved by an estimate, settled by what the engine counted: 5 tokens an answer here."""

    async def body(here):
        mine = key(here, tpm=1000)
        head = bearer(mine)
        asked = {**CHAT, "max_tokens": 900, "stream": stream}
        for _ in range(3):
            answer = await here.client.post("/v1/chat/completions", json=asked, headers=head)
            assert answer.status_code == 200
        told = dict(here.core.allowances.headers(caller(here, mine), here.core.clock()))
        assert 985 <= int(told["x-ratelimit-remaining-tokens"]) <= 987

    on_stage(tmp_path, body)


def caller(here, text):
    from rbee.policy.keys import judge

    found = judge(text, here.core.keys.records, now=time.time())
    assert found.limits == KeyLimits(tpm=1000)
    return found


def test_requests_at_once(tmp_path):
    """One more than allowed is refused; when one has ended, or hung up, the next gets in."""
    held = asyncio.Event()

    async def play(engine, reader, writer, body):
        if json.loads(body)["max_tokens"] == 1:
            held.set()
            await reader.read(1)  # until the queen hangs up
            return
        writer.write(WHOLE)

    async def body(here):
        head = bearer(key(here, concurrent=1))
        asked = {"json": {**CHAT, "max_tokens": 1}, "headers": head}
        first = asyncio.create_task(here.client.post("/v1/chat/completions", **asked))
        await asyncio.wait_for(held.wait(), 5)
        answer = await here.client.post("/v1/chat/completions", **asked)
        assert answer.json()["error"]["code"] == "RATE_LIMITED"
        assert int(answer.headers["retry-after"]) >= 1
        first.cancel()
        async with asyncio.timeout(5):
            while here.router.running:
                await asyncio.sleep(0)
        asked["json"]["max_tokens"] = 2
        answer = await here.client.post("/v1/chat/completions", **asked)
        assert answer.status_code == 200

    on_stage(tmp_path, body, play)
