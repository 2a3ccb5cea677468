"""What a registry may do wrong, in the words of the features."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable

from faults.registry import Answer, Asked, Fault, Registry, Slice

PAGE = b"<!doctype html><html><body>Sign in to continue</body></html>"


def times(count: int, fault: Fault, where: Callable[[Asked], bool]) -> Fault:
    """A fault of the first `count` requests of a kind."""
    left = itertools.count(count, -1)

    def act(asked: Asked, answer: Answer) -> None:
        if where(asked) and next(left) > 0:
            fault(asked, answer)

    return act


def at(path: str, fault: Fault) -> Fault:
    """A fault of one file alone."""
    return lambda asked, answer: fault(asked, answer) if asked.path == path else None


def a_part(asked: Asked) -> bool:
    """A request for more of a file than its first byte."""
    return asked.size_bytes > 1


def read(words: str, server: Registry, other: Registry) -> Fault:
    """The fault that these words mean."""
    for pattern, make in _VOCABULARY.items():
        found = re.fullmatch(pattern, words)
        if found is not None:
            return make(*found.groups())
    targets = {"redirects to itself": server.url, "redirects to another host": other.url}
    return redirects(targets[words])


def cuts(after: str) -> Fault:
    return lambda asked, answer: setattr(answer, "cut_after", int(after))


def loses_the_rest(after: str) -> Fault:
    """What is beyond so many bytes is not there any more."""

    def act(asked: Asked, answer: Answer) -> None:
        if asked.begin >= int(after):
            answer.status, answer.body, answer.headers = 404, b"no", {}
        else:
            answer.cut_after = int(after) - asked.begin

    return act


def goes_silent(after: str) -> Fault:
    return lambda asked, answer: setattr(answer, "hold_after", int(after))


def trickles(count: str) -> Fault:
    return lambda asked, answer: setattr(answer, "drip_bytes", int(count))


def answers(status: str, retry_after: str | None = None) -> Fault:
    """Another status in place of the file."""

    def act(asked: Asked, answer: Answer) -> None:
        answer.status, answer.body, answer.headers = int(status), b"no", {}
        if retry_after:
            answer.headers["retry-after"] = retry_after

    return act


def says(name: str, value: str) -> Fault:
    """A header in place of the true one; of no value: none."""
    return lambda asked, answer: answer.headers.update({name: value})


def knows_no_ranges() -> Fault:
    """The whole file with 200, whatever was asked for."""

    def act(asked: Asked, answer: Answer) -> None:
        if isinstance(answer.body, Slice):
            path = answer.body.path
            answer.status, answer.body = 200, Slice(path, 0, path.stat().st_size)
            answer.headers.pop("content-range", None)
            asked.begin, asked.end = 0, answer.body.end

    return act


def sends_a_page() -> Fault:
    def act(asked: Asked, answer: Answer) -> None:
        answer.status, answer.body = 200, PAGE
        answer.headers = {"content-type": "text/html; charset=utf-8"}

    return act


def sends_a_page_as_the_file() -> Fault:
    """No header tells that it is none."""

    def act(asked: Asked, answer: Answer) -> None:
        answer.body = (PAGE * (asked.size_bytes // len(PAGE) + 1))[: asked.size_bytes]

    return act


def flips_a_byte() -> Fault:
    """In transit: nothing but a digest tells."""

    def act(asked: Asked, answer: Answer) -> None:
        if isinstance(answer.body, Slice) and asked.size_bytes > 1:
            with answer.body.path.open("rb") as file:
                file.seek(answer.body.begin)
                data = bytearray(file.read(answer.size_bytes))
            data[len(data) // 2] ^= 1
            answer.body = bytes(data)

    return act


def renames_its_version() -> Fault:
    """Another ETag with each answer, as mirrors behind one name do."""
    number = itertools.count()
    return lambda asked, answer: answer.headers.update({"etag": f'"v{next(number)}"'})


def redirects(to: str) -> Fault:
    def act(asked: Asked, answer: Answer) -> None:
        answer.status, answer.body = 302, b""
        answer.headers = {"location": to + asked.target}

    return act


_VOCABULARY: dict[str, Callable[..., Fault]] = {
    r"cuts after (\d+) bytes": cuts,
    r"loses all but (\d+) bytes": loses_the_rest,
    r"goes silent after (\d+) bytes": goes_silent,
    r"sends (\d+) bytes ten times a second": trickles,
    r"answers (\d+)": answers,
    r"answers (\d+) with Retry-After (\d+)": answers,
    r"knows no ranges": knows_no_ranges,
    r"says (content-range|content-length|content-encoding|etag) (.+)": says,
    r"says no (content-range|content-length|etag)": lambda name: says(name, ""),
    r"sends a web page": sends_a_page,
    r"sends a web page as the file": sends_a_page_as_the_file,
    r"flips a byte": flips_a_byte,
    r"names another version each time": renames_its_version,
}
