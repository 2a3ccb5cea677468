"""What a program with Anthropic's SDK does."""

from __future__ import annotations

from typing import Any

import anthropic
from telling import KEY, main, tell, told_error

MODEL = "tiny"
COUNT: list[Any] = [{"role": "user", "content": "Count from one to one hundred."}]
STORY: list[Any] = [{"role": "user", "content": "Write a very long story about a bee."}]


def client(url: str, retries: int = 2) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=url, api_key=KEY, max_retries=retries, timeout=60)


def chat(url: str) -> None:
    found = client(url).messages.create(model=MODEL, messages=COUNT, max_tokens=8)
    tell(
        text="".join(part.text for part in found.content if part.type == "text"),
        finish=found.stop_reason,
        model=found.model,
        tokens=found.usage.output_tokens,
    )


def stream(url: str) -> None:
    with client(url).messages.stream(model=MODEL, messages=COUNT, max_tokens=8) as answer:
        text = "".join(answer.text_stream)
        final = answer.get_final_message()
    tell(text=text, finish=final.stop_reason, model=final.model)


def count(url: str) -> None:
    tell(tokens=client(url).messages.count_tokens(model=MODEL, messages=COUNT).input_tokens)


def errors(url: str) -> None:
    wrong: list[dict[str, Any]] = [
        {"model": "tinny", "messages": COUNT},
        {"model": MODEL, "messages": [{"role": "user", "content": "word " * 2000}]},
    ]
    for words in wrong:
        try:
            client(url).messages.create(max_tokens=8, **words)
        except anthropic.APIError as error:
            told_error(error)


def full(url: str) -> None:
    client(url, retries=0).messages.create(model=MODEL, messages=COUNT, max_tokens=4)


def once(url: str) -> None:
    """One try, and what it came to."""
    client(url, retries=0).messages.create(model=MODEL, messages=COUNT, max_tokens=2)
    tell(served=True)


def long(url: str) -> None:
    with client(url).messages.stream(model=MODEL, messages=STORY, max_tokens=400) as answer:
        for text in answer.text_stream:
            tell(part=text, finish=None)
        tell(part=None, finish=answer.get_final_message().stop_reason)


if __name__ == "__main__":
    main(globals())
