"""What a program with the OpenAI SDK does."""

from __future__ import annotations

from typing import Any

import openai
from telling import KEY, main, tell, told_error

MODEL = "tiny"
COUNT: list[dict[str, Any]] = [{"role": "user", "content": "Count from one to one hundred."}]
STORY: list[dict[str, Any]] = [{"role": "user", "content": "Write a very long story about a bee."}]
sent: list[int] = []
"""The status of each answer, the SDK's own retries included."""


def client(url: str, retries: int = 2) -> openai.OpenAI:
    hooks = {"response": [lambda response: sent.append(response.status_code)]}
    http = openai.DefaultHttpxClient(event_hooks=hooks, timeout=60)
    return openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=retries, http_client=http)


def chat(url: str) -> None:
    found = client(url).chat.completions.create(model=MODEL, messages=COUNT, max_tokens=8, seed=1)
    choice = found.choices[0]
    tell(
        text=choice.message.content,
        finish=choice.finish_reason,
        model=found.model,
        tokens=found.usage.completion_tokens if found.usage else None,
        request_id=found._request_id,
    )


def once(url: str) -> None:
    """One try, and what it came to."""
    sent.clear()
    try:
        client(url, retries=0).models.list()
        client(url, retries=0).chat.completions.create(model=MODEL, messages=COUNT, max_tokens=2)
    finally:
        tell(sent=sent)


def stream(url: str) -> None:
    for usage in (False, True):
        chunks = list(
            client(url).chat.completions.create(
                model=MODEL,
                messages=COUNT,
                max_tokens=8,
                seed=1,
                stream=True,
                stream_options={"include_usage": usage},
            )
        )
        tell(
            text="".join(one.choices[0].delta.content or "" for one in chunks if one.choices),
            finish=[one.choices[0].finish_reason for one in chunks if one.choices][-1],
            ids=len({one.id for one in chunks}),
            models=sorted({one.model for one in chunks}),
            without_choices=sum(not one.choices for one in chunks),
            tokens=chunks[-1].usage.completion_tokens if chunks[-1].usage else None,
        )


def completions(url: str) -> None:
    found = client(url).completions.create(model=MODEL, prompt="One, two,", max_tokens=4)
    tell(text=found.choices[0].text, finish=found.choices[0].finish_reason)


def models(url: str) -> None:
    listed = list(client(url).models.list())
    one = client(url).models.retrieve("gpt-4o-mini")
    tell(ids=[model.id for model in listed], one=one.id, window=one.model_dump()["context_length"])


def alias(url: str) -> None:
    found = client(url).chat.completions.create(model="gpt-4o-mini", messages=COUNT, max_tokens=4)
    tell(text=found.choices[0].message.content, model=found.model)


def embed(url: str) -> None:
    found = client(url).embeddings.create(model=MODEL, input=["hello", "bees make honey"])
    tell(sizes=[len(one.embedding) for one in found.data], different=found.data[0] != found.data[1])


def shaped(url: str) -> None:
    """Fields that only the engine acts on reach it."""
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    found = client(url).chat.completions.create(
        model=MODEL,
        messages=COUNT,
        max_tokens=24,
        temperature=0,
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "number", "schema": schema, "strict": True},
        },
    )
    tell(text=found.choices[0].message.content)
    found = client(url).chat.completions.create(
        model=MODEL, messages=COUNT, max_tokens=3, n=2, logprobs=True, top_logprobs=2, stop=["zzz"]
    )
    tops = [len(one.logprobs.content[0].top_logprobs) for one in found.choices if one.logprobs]
    tell(choices=len(found.choices), tops=tops)


def responses(url: str) -> None:
    found = client(url).responses.create(model=MODEL, input="Say hello.", max_output_tokens=8)
    tell(text=found.output_text, status=found.status)
    events = list(
        client(url).responses.create(
            model=MODEL, input="Say hello.", max_output_tokens=8, stream=True
        )
    )
    tell(last=events[-1].type, deltas=sum("text.delta" in one.type for one in events))


def errors(url: str) -> None:
    wrong: dict[str, dict[str, Any]] = {
        "unknown": {"model": "tinny", "messages": COUNT},
        "overflow": {"model": MODEL, "messages": [{"role": "user", "content": "word " * 2000}]},
        "refused": {"model": MODEL, "messages": COUNT, "extra_body": {"grammar": "root ::= ("}},
    }
    for words in wrong.values():
        sent.clear()
        try:
            client(url).chat.completions.create(**words)
        except openai.APIError as error:
            told_error(error)
            tell(sent=sent)


def full(url: str) -> None:
    """Against a queue that is full: one try, then the SDK's own retries."""
    words: dict[str, Any] = {"model": MODEL, "messages": COUNT, "max_tokens": 4}
    try:
        client(url, retries=0).chat.completions.create(**words)
    except openai.APIError as error:
        told_error(error)
    sent.clear()
    found = client(url, retries=5).chat.completions.create(**words)
    tell(text=found.choices[0].message.content, sent=sent)


def impatient(url: str) -> None:
    """An answer that takes longer than the SDK waits: it hangs up and asks again."""
    patience_s = 1.5
    found = (
        client(url, retries=9)
        .with_options(timeout=patience_s)
        .chat.completions.create(model=MODEL, messages=STORY, max_tokens=150, seed=1)
    )
    tell(text=found.choices[0].message.content, request_id=found._request_id, sent=sent)


def hang_up(url: str) -> None:
    answer = client(url).chat.completions.create(
        model=MODEL, messages=STORY, max_tokens=400, stream=True
    )
    for count, _ in enumerate(answer):
        if count == 3:
            break
    answer.close()
    tell(closed=True)


def long(url: str) -> None:
    """A stream, told as it comes."""
    answer = client(url).chat.completions.create(
        model=MODEL, messages=STORY, max_tokens=400, stream=True
    )
    for chunk in answer:
        tell(part=chunk.choices[0].delta.content, finish=chunk.choices[0].finish_reason)


def long_responses(url: str) -> None:
    answer = client(url).responses.create(
        model=MODEL, input=STORY[0]["content"], max_output_tokens=400, stream=True
    )
    for event in answer:
        finish = event.type if event.type == "response.completed" else None
        tell(part=getattr(event, "delta", None), finish=finish)


if __name__ == "__main__":
    main(globals())
