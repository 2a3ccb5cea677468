"""What a program with LiteLLM (aider and many others) does."""

from __future__ import annotations

from typing import Any

import litellm
from telling import main, tell, told_error

litellm.suppress_debug_info = True
COUNT = [{"role": "user", "content": "Count from one to one hundred."}]
STORY = [{"role": "user", "content": "Write a very long story about a bee."}]


def ask(url: str, model: str = "openai/tiny", **fields: Any) -> Any:
    words = {"messages": COUNT, "max_tokens": 8, **fields}
    return litellm.completion(
        model=model, api_base=f"{url}/v1", api_key="any", num_retries=0, timeout=60, **words
    )


def chat(url: str) -> None:
    found = ask(url)
    tell(text=found.choices[0].message.content, finish=found.choices[0].finish_reason)


def stream(url: str) -> None:
    chunks = list(ask(url, stream=True))
    tell(
        text="".join(one.choices[0].delta.content or "" for one in chunks),
        finish=chunks[-1].choices[0].finish_reason,
    )


def embed(url: str) -> None:
    found = litellm.embedding(
        model="openai/tiny",
        input=["hello"],
        api_base=f"{url}/v1",
        api_key="any",
        encoding_format="float",
    )
    tell(sizes=[len(one["embedding"]) for one in found.data])


def errors(url: str) -> None:
    long_prompt = [{"role": "user", "content": "word " * 2000}]
    for words in ({"model": "openai/tinny"}, {"messages": long_prompt}):
        try:
            ask(url, **words)
        except Exception as error:
            told_error(error)


def long(url: str) -> None:
    for chunk in ask(url, stream=True, max_tokens=400, messages=STORY):
        tell(part=chunk.choices[0].delta.content, finish=chunk.choices[0].finish_reason)


if __name__ == "__main__":
    main(globals())
