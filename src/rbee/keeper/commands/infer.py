"""`rbee infer`: one prompt, one answer."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rbee.errors import RbeeError
from rbee.keeper.answer import Question, Summary
from rbee.keeper.asking import Asker
from rbee.keeper.connection import Connection
from rbee.keeper.parsing import Parser, count_flag, seed_flag, temperature_flag, time_flag
from rbee.keeper.render import Screen, duration, put

DEFAULT_MODEL = "smollm2:135m"


def run(command: str, arguments: Sequence[str]) -> int:
    """Tokens to stdout, everything else to stderr."""
    asked = _parser().parse(arguments)
    prompt = _prompt(asked)
    screen = Screen.on(sys.stderr, json=asked.json)
    asker = Asker(Connection.of(asked.url), screen, json=asked.json)
    asker.meet(asked.timeout)
    model = asker.name_of(asked.model)
    if asked.device:
        asker.serve(model, asked.device, asked.fallback)
    question = Question(
        model=model,
        messages=[{"role": "user", "content": prompt}],
        max_tokens=asked.max_tokens,
        temperature=asked.temperature,
        seed=asked.seed,
        timeout_s=asked.timeout,
    )
    summary = asker.ask(question)
    if asked.json:
        put({"done": _facts(summary, question.model)})
        return 0
    if screen.terminal:
        _tell(summary, asker, screen)
    if summary.facts.get("degraded"):
        screen.mark("other", str(summary.facts["degraded"]))
    _tell_repairs(summary, screen)
    return 0


def _parser() -> Parser:
    parser = Parser("infer", "Answer one prompt; starts rbee and fetches the model if needed.")
    parser.add_argument("-m", "--model", default=DEFAULT_MODEL, help=f"default: {DEFAULT_MODEL}")
    parser.add_argument("-p", "--prompt", help="the prompt; - reads it from stdin")
    parser.add_argument("--max-tokens", type=count_flag, metavar="N")
    parser.add_argument("--temperature", type=temperature_flag, metavar="T")
    parser.add_argument("--seed", type=seed_flag, metavar="N")
    parser.add_argument("--timeout", type=time_flag, metavar="TIME", help="such as 90s or 5m")
    parser.add_argument("--device", default="", help="cpu, cuda:0, …: run there or not at all")
    parser.add_argument(
        "--fallback",
        action=argparse.BooleanOptionalAction,
        help="with --device: rather elsewhere than not at all",
    )
    return parser


def _prompt(asked: argparse.Namespace) -> str:
    given = asked.prompt
    if given is None and not sys.stdin.isatty():
        given = "-"
    if given is None:
        raise RbeeError("USAGE", problem='rbee infer needs a prompt: -p "…", or -p - for stdin')
    if given == "-":
        given = sys.stdin.buffer.read().decode("utf-8", "replace")
    if not given.strip():
        raise RbeeError("USAGE", problem="the prompt is empty")
    # Bytes of an argument that are no UTF-8 arrive as lone surrogates.
    return str(given).encode("utf-8", "replace").decode("utf-8")


def _facts(summary: Summary, model: str) -> dict[str, object]:
    return {
        "model": model,
        "text": summary.text,
        "finish_reason": summary.finish_reason,
        "tokens": summary.tokens,
        "tokens_per_s": round(summary.tokens_per_s, 2),
        "first_after_s": round(summary.first_after_s, 3),
        "job_id": summary.job,
        "rbee": summary.facts,
    }


def _tell(summary: Summary, asker: Asker, screen: Screen) -> None:
    parts = [f"{summary.tokens} tokens"]
    if summary.tokens_per_s:
        parts.append(f"{summary.tokens_per_s:.0f} per second")
    parts.append(f"first after {duration(summary.first_after_s)}")
    if summary.facts.get("device"):
        parts.append(f"on {summary.facts['device']}")
    if summary.finish_reason == "length":
        parts.append("cut at the token limit")
    screen.line()
    screen.line("  " + ", ".join(parts))
    if asker.started:
        key = "with a key: rbee keys create" if asker.key_needed else "no key is needed here"
        screen.line(f"  Any OpenAI client: {asker.url}/v1 ({key})")


def _tell_repairs(summary: Summary, screen: Screen) -> None:
    """Where the answer was taken up after a fault. One that may have another wording for it is told
    on every screen; one that has not, only to a person."""
    repairs = summary.facts.get("splices") or ()
    for one in repairs:
        at, pause = one["at_token"], duration(one["gap_ms"] / 1000)
        if not one["exact"]:
            differs = "the wording after that may differ from an undisturbed run"
            screen.mark("other", f"continued at token {at}; {differs}")
        elif screen.terminal:
            screen.line(f"  taken up at token {at}, the same text, {pause} pause")
    if repairs and screen.terminal:
        screen.line(f"  {screen.marks.then} rbee events --job {summary.job}")
