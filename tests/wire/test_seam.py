"""Two attempts are joined to one answer: nothing twice, nothing missing, or Diverged."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbee.wire.seam import Continuation, Diverged, Replay
from rbee.wire.transcript import Transcript
from tests.wire.chunks import choices, chunk, heard, streams, usage


def joined(seam, payloads):
    return [new for data in payloads if (new := seam.take(data)) is not None]


@given(st.data(), st.lists(choices, min_size=1, max_size=2).map(tuple))
@settings(max_examples=400, deadline=None)
def test_a_replay_gives_the_uninterrupted_answer(data, answer):
    """Wherever the first attempt broke off, and however the second cuts its chunks: the client
    hears what it would have heard, under the first attempt's names."""
    first = data.draw(streams(answer, "first"))
    second = data.draw(streams(answer, "second"))
    given_ = first[: data.draw(st.integers(1, len(first)))]
    seam = Replay(Transcript.of(given_))

    told, usages, ids = heard([*given_, *joined(seam, second)])

    for index, choice in enumerate(answer):
        one = told[index]
        assert (one.reasoning, one.content) == (choice.reasoning, choice.content)
        assert [tuple(call[1:]) for call in one.calls.values()] == list(choice.calls)
        assert one.logprobs == list(choice.content)
        assert (one.roles, one.finish) == (1, [choice.finish])
    assert seam.covered and len(usages) == len(answer) and len(ids) == 1
    names = {call[0].split("-")[1] for one in told.values() for call in one.calls.values()}
    assert names <= {"first", "second"}


@given(st.data(), choices, choices)
@settings(max_examples=300, deadline=None)
def test_another_answer_is_never_joined_to_the_first(data, one, other):
    """Either what was delivered is the beginning of the other answer too, or it is Diverged."""
    first = data.draw(streams((one,), "first"))
    second = data.draw(streams((other,), "second"))
    given_ = first[: data.draw(st.integers(1, len(first)))]
    seam = Replay(Transcript.of(given_))
    before = heard(given_)[0][0]

    try:
        after = heard([*given_, *joined(seam, second)])[0][0]
    except Diverged:
        return
    assert after.content == other.content and other.content.startswith(before.content)
    assert after.reasoning == other.reasoning and other.reasoning.startswith(before.reasoning)
    assert before.finish in ([], [other.finish]) and after.finish == [other.finish]


def test_ids_of_calls_that_the_client_knows_are_kept():
    """A second id for one call would be another call to most clients."""
    call = {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": "{"}}
    again = {**call, "id": "c2", "function": {"name": "f", "arguments": '{"a":'}}
    seam = Replay(Transcript.of([chunk({"tool_calls": [call]})]))

    new = json.loads(seam.take(chunk({"tool_calls": [again]}, id_="second")))
    delta = new["choices"][0]["delta"]

    assert delta == {"tool_calls": [{"index": 0, "function": {"arguments": '"a":'}}]}
    assert (new["id"], new["created"], new["system_fingerprint"]) == ("first", 1, "fp-first")


def test_a_replay_that_ends_too_early_has_diverged():
    """A finish before all of the delivered text is another answer."""
    seam = Replay(Transcript.of([chunk({"content": "Hello"})]))
    seam.take(chunk({"content": "Hel"}, id_="second"))

    with pytest.raises(Diverged):
        seam.take(chunk({}, finish="stop", id_="second"))


def continuation(delivered, stops=()):
    transcript = Transcript.of([chunk({"role": "assistant"}), chunk({"content": delivered})])
    transcript.prompt_tokens = 3
    return Continuation(transcript, stops)


def test_a_continuation_is_one_answer_with_the_first():
    """No second role, the first one's names, and a usage as if nothing had happened."""
    seam = continuation("Hel")
    said = joined(
        seam,
        [
            chunk({"role": "assistant", "content": None}, id_="second"),
            chunk({"content": "lo"}, id_="second"),
            chunk({}, finish="stop", id_="second"),
            usage(4, 1, "second"),
        ],
    )
    told, usages, ids = heard(said)

    assert (told[0].content, told[0].roles, told[0].finish) == ("lo", 0, ["stop"])
    assert usages == [{"completion_tokens": 2, "prompt_tokens": 3, "total_tokens": 5}]
    assert ids == {"first 1"}


@pytest.mark.parametrize(
    ("delivered", "stops", "pieces", "text", "over"),
    [
        ("a ST", ["STOP"], ["O", "P", "b"], "", True),
        ("a ST", ["STOP"], ["OP and more"], "", True),
        ("a ST", ["STOP"], ["O", "x"], "Ox", False),
        ("a ST", ["STOP"], ["O"], "O", False),
        ("a", ["STOP"], ["OP"], "OP", False),
        ("aaa", ["aab", "aaac"], ["b"], "", True),
        ("aaa", ["aab", "aaac"], ["x"], "x", False),
        ("a ST", [], ["OP"], "OP", False),
    ],
)
def test_a_stop_string_across_the_seam_still_stops(delivered, stops, pieces, text, over):
    """The second engine does not know that its first letters went out already."""
    seam = continuation(delivered, stops)
    chunks = [chunk({"content": one}, id_="second") for one in pieces]
    said = joined(seam, [*chunks, chunk({}, finish="length", id_="second")][: len(pieces) + 1])

    assert seam.over is over
    told = heard(said)[0][0]
    assert told.content == text and told.finish[0] == ("stop" if over else "length")
