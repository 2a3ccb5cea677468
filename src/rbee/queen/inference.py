"""The routes that make a model work: each turns its request into one task for `dispatch`."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs

import msgspec

from rbee.errors import RbeeError
from rbee.policy.admission import Claim
from rbee.policy.deadline import Deadline
from rbee.queen.answer import Answer
from rbee.queen.attempt import Call
from rbee.queen.claims import claim_of
from rbee.queen.dispatch import Dispatch, Task
from rbee.queen.passing import PassRelay
from rbee.queen.reading import read_ask
from rbee.queen.relay import Relay
from rbee.queen.routes import Visit
from rbee.queen.tries import Talk
from rbee.wire.llama_server import without_path
from rbee.wire.openai import Ask, upstream_body, with_params
from rbee.wire.problem import encode
from rbee.wire.resumption import shape_of


async def chat(visit: Visit) -> None:
    """`/v1/chat/completions` and `/v1/completions`."""
    ask = await _parse(visit)
    core = visit.core
    served = core.models.find(ask.model, core.roster.models)
    path = visit.exchange.request.path
    body = upstream_body(
        _named(ask, served.name), params=served.how.params, seed=secrets.randbits(31)
    )
    quiet = visit.header("x-rbee-quiet") == "1"
    talk = Talk(
        body,
        shape_of(body, chat=path.endswith("chat/completions")),
        exact=visit.header("x-rbee-exact") == "1",
        stream=ask.stream,
        wants_usage=ask.wants_usage,
        facts=None if quiet else lambda: _facts(visit, served.name),
    )
    call = _call(visit, ask, path, b"", served.name)
    claim = claim_of(visit, ask, call)
    task = Task(served, (served.name, "chat"), call, talk=talk, claim=claim)
    await Dispatch(core).run(task, visit.answer, visit.answer.transcript)


async def embeddings(visit: Visit) -> None:
    """`/v1/embeddings`, answered by an embedding worker beside a chat worker of the same model. An
    attached server has one address for both."""
    ask = await _parse(visit)
    served = visit.core.models.find(ask.model, visit.core.roster.models)
    await _whole(visit, "chat" if served.attached else "embedding", ask)


async def passed(visit: Visit) -> None:
    """A request that is routed by its `model` to a worker as it is."""
    ask = await _parse(visit)
    core = visit.core
    served = core.models.find(ask.model, core.roster.models)
    ask = replace(ask, body=with_params(ask.body, served.how.params))
    if not ask.stream and _is_list(ask.body.get("prompt")):
        await _whole(visit, "chat", ask)
        return
    path = visit.exchange.request.path
    wants_progress = ask.stream and bool(ask.body.get("return_progress"))
    body = {**_named(ask, served.name).body, "stream": True, "return_progress": True}

    def relay(answer: Answer) -> Relay:
        return PassRelay(
            answer,
            model=served.name,
            path=path,
            stream=ask.stream,
            wants_progress=wants_progress,
        )

    call = _call(visit, ask, path, encode(body), served.name)
    claim = claim_of(visit, ask, call)
    task = Task(served, (served.name, "chat"), call, relay, claim=claim)
    await Dispatch(core).run(task, visit.answer)


def _is_list(prompt: object) -> bool:
    """Several prompts, which the engine answers with several objects in one body."""
    if isinstance(prompt, msgspec.Raw):
        listed = bytes(prompt)
        return listed.startswith(b"[") and (b'"' in listed or b"[" in listed[1:])
    return isinstance(prompt, list) and not all(isinstance(one, int) for one in prompt)


async def plain(visit: Visit) -> None:
    """A short request that sends no tokens: tokenize, count_tokens, apply-template."""
    await _whole(visit, "chat", brief=True)


async def props(visit: Visit) -> None:
    """`GET /props?model=…`: the engine's properties of one model, without its path."""
    asked = parse_qs(visit.exchange.request.query).get("model", [""])[0]
    core = visit.core
    name = asked or core.models.only(core.roster.models)
    if not name:
        raise RbeeError(
            "INVALID_REQUEST", problem="model is missing: /props?model=NAME", param="model"
        )
    served = core.models.find(name, core.roster.models)
    call = Call("GET", "/props", b"", served.name, None)
    lane, claim = (served.name, "chat"), Claim(brief=True)
    task = Task(served, lane, call, edit=without_path, claim=claim)
    await Dispatch(core).run(task, visit.answer)


async def _whole(visit: Visit, mode: str, ask: Ask | None = None, *, brief: bool = False) -> None:
    """Answered as one body."""
    ask = ask or await _parse(visit)
    core = visit.core
    served = core.models.find(ask.model, core.roster.models)
    path = visit.exchange.request.path
    body = encode({**_named(ask, served.name).body, "stream": False})
    call = _call(visit, ask, path, body, served.name)
    claim = claim_of(visit, ask, call, brief=brief)
    task = Task(served, (served.name, mode), call, claim=claim)
    await Dispatch(core).run(task, visit.answer)


async def _parse(visit: Visit) -> Ask:
    body, limit = visit.exchange.request.body, visit.header("x-request-timeout")
    ask = await read_ask(visit.core, body, timeout_header=limit)
    visit.answer.streams = ask.stream
    visit.enter(ask.body)
    return ask


def _named(ask: Ask, name: str) -> Ask:
    """The engine knows the model by its public name, whatever alias was asked for."""
    ask.body["model"] = name
    return ask


def _call(visit: Visit, ask: Ask, path: str, body: bytes, model: str) -> Call:
    limit_s = ask.timeout_s or visit.core.settings.limits.total_s
    return Call("POST", path, body, model, Deadline.after(limit_s, visit.core.clock()))


def _facts(visit: Visit, model: str) -> dict[str, Any]:
    """What the finish chunk says of how the answer came about."""
    answer = visit.answer
    facts: dict[str, Any] = {"job_id": answer.job_id, "model": model}
    if answer.worker is not None:
        facts["worker"] = answer.worker.id
        facts["device"] = answer.worker.device
        if answer.worker.degraded:
            facts["degraded"] = answer.worker.degraded
    if answer.attempts:
        facts["attempts"] = answer.attempts
    if answer.splices:
        facts["splices"] = answer.splices
    return facts
