"""What a program with LangChain does."""

from __future__ import annotations

import openai
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import SecretStr
from telling import main, tell, told_error

KEY = SecretStr("any")
COUNT = "Count from one to one hundred."
STORY = "Write a very long story about a bee."


def model(url: str, name: str = "tiny", tokens: int = 8) -> ChatOpenAI:
    return ChatOpenAI(
        model=name, base_url=f"{url}/v1", api_key=KEY, max_completion_tokens=tokens, timeout=60
    )


def chat(url: str) -> None:
    found = model(url).invoke(COUNT)
    tell(text=found.content, finish=found.response_metadata["finish_reason"])


def stream(url: str) -> None:
    chunks = list(model(url).stream(COUNT))
    finishes = [one.response_metadata.get("finish_reason") for one in chunks]
    tell(
        text="".join(str(one.content) for one in chunks), finish=next(filter(None, finishes), None)
    )


def embed(url: str) -> None:
    embeddings = OpenAIEmbeddings(
        model="tiny", base_url=f"{url}/v1", api_key=KEY, check_embedding_ctx_length=False
    )
    tell(sizes=[len(embeddings.embed_query("hello"))])


def errors(url: str) -> None:
    for name, prompt in (("tinny", COUNT), ("tiny", "word " * 2000)):
        try:
            model(url, name).invoke(prompt)
        except openai.APIError as error:
            told_error(error)


def long(url: str) -> None:
    for chunk in model(url, tokens=400).stream(STORY):
        tell(part=chunk.content, finish=chunk.response_metadata.get("finish_reason"))


if __name__ == "__main__":
    main(globals())
