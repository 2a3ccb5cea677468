"""What stands on a screen, and when."""

import io
import json

import pytest

from rbee.errors import RbeeError
from rbee.keeper.failure import error_from, show
from rbee.keeper.render import FANCY, PLAIN, Screen, duration, marks_for, progress, safe, table


class Terminal(io.StringIO):
    encoding = "utf-8"  # type: ignore[assignment]

    def isatty(self) -> bool:
        return True


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def screen(*, terminal: bool, json: bool = False) -> tuple[Screen, Terminal, Clock]:
    stream, clock = Terminal(), Clock()
    marks = FANCY if terminal else PLAIN
    return Screen(stream, json=json, marks=marks, terminal=terminal, clock=clock), stream, clock


def test_marks_are_plain_where_they_must_be() -> None:
    """NO_COLOR, TERM=dumb, a pipe."""
    assert marks_for(Terminal(), {}) == FANCY
    assert marks_for(Terminal(), {"NO_COLOR": "1"}) == PLAIN
    assert marks_for(Terminal(), {"TERM": "dumb"}) == PLAIN
    assert marks_for(io.StringIO(), {}) == PLAIN


def test_what_takes_less_than_300_ms_shows_nothing() -> None:
    """A warm answer has a clean screen."""
    shown, stream, clock = screen(terminal=True)
    shown.live("load", "loading")
    clock.now += 0.29
    shown.live("load", "loading")
    shown.clear()
    assert stream.getvalue() == ""


def test_a_live_line_is_redrawn_at_most_four_times_a_second_and_erased() -> None:
    """Of 100 changes in a second at most 4 are drawn."""
    shown, stream, clock = screen(terminal=True)
    shown.live("load", "0 %")
    clock.now += 0.3
    for percent in range(100):
        shown.live("load", f"{percent} %")
        clock.now += 0.01
    assert 3 <= stream.getvalue().count("%") <= 4
    shown.clear()
    assert stream.getvalue().endswith("\r\x1b[2K")


def test_in_a_log_changes_are_lines_with_the_time() -> None:
    """One line at the start of a step, then every 10 s, without control characters."""
    shown, stream, clock = screen(terminal=False)
    for _ in range(250):
        shown.live("load", f"at {clock.now:.1f}")
        clock.now += 0.1
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    assert all(line[8:10] == "Z " for line in lines)
    assert "\x1b" not in stream.getvalue()


def test_json_shows_facts_only() -> None:
    """Under --json nothing but objects."""
    shown, stream, clock = screen(terminal=True, json=True)
    shown.mark("done", "x")
    shown.live("a", "b")
    clock.now += 1
    shown.live("a", "b")
    shown.fact({"a": 1})
    assert stream.getvalue() == '{"a": 1}\n'


def test_a_failure_says_what_it_means_and_what_to_do() -> None:
    """What happened, what it means, what to type, the code."""
    shown, stream, _ = screen(terminal=True)
    code = show(RbeeError("WORKER_NOT_FOUND", worker="w9"), shown)
    what, means, do, last = stream.getvalue().splitlines()
    assert (code, what, last) == (1, "✗ There is no worker w9.", "  WORKER_NOT_FOUND")
    assert means.startswith("  ")
    assert do.startswith("  → ")


def test_a_failure_is_an_object_under_json() -> None:
    """The same facts."""
    shown, stream, _ = screen(terminal=True, json=True)
    show(RbeeError("STOP_INCOMPLETE", pids=[1, 2]), shown)
    assert json.loads(stream.getvalue())["error"]["details"] == {"pids": [1, 2]}


@pytest.mark.parametrize("body", [None, [], "x", {"error": "plain"}, {"error": {"code": 5}}, {}])
def test_an_answer_of_another_shape_is_told_as_such(body: object) -> None:
    """Something else may answer at that address."""
    assert error_from(body, status=502).code == "INTERNAL"


def test_progress_has_numbers_with_units() -> None:
    """Both sides, rate and what is left."""
    words = progress("m", 58 << 20, 94 << 20, (58 << 20) / 5.0)
    assert words == "m   62 %   58.0 MiB of 94.0 MiB   11.6 MiB/s   3.1 s left"
    assert progress("m", 0, 0, 0.0, columns=80) == "m"


@pytest.mark.parametrize("columns", [40, 77, 100, 200])
@pytest.mark.parametrize("name", ["m", "hf:some-organisation/some-model-with-a-name-GGUF:Q4_K_M"])
def test_the_numbers_have_their_place_first(name: str, columns: int) -> None:
    """A long name gives way, then the bar; a wide terminal shows all of it."""
    words = progress(name, 58 << 20, 94 << 20, (58 << 20) / 5.0, columns=columns)
    numbers = "62 %   58.0 MiB of 94.0 MiB   11.6 MiB/s   3.1 s left"
    assert words.endswith(f"   {numbers}")
    assert len(words) <= max(columns, len(numbers) + 15)
    assert words.startswith(name) or ("…" in words and name[-8:] in words)
    assert ("█" in words) is (columns - len(numbers) - 3 >= min(len(name), columns) + 9)


def test_durations_are_short() -> None:
    """As people say them."""
    assert [duration(one) for one in (0.42, 9, 9.96, 60, 151, 3900)] == [
        *("0.4 s", "9.0 s", "10 s", "1 m", "2 m 31 s", "1 h 5 m"),
    ]


def test_tables_line_up() -> None:
    """Numbers end flush."""
    assert table(("A", "N"), [["x", "10"], ["yyy", "2"]], right=(1,)) == "A     N\nx    10\nyyy   2"


def test_strangers_do_not_steer_the_terminal() -> None:
    """Escape sequences in an answer are shown as such."""
    assert safe("a\x1b[31m\x07\x9bb\n\tä") == "a�[31m��b\n\tä"


@pytest.mark.parametrize("details", [[1], "x", 5, None, [["a", 1]]])
def test_an_error_keeps_its_code_whatever_its_details_are(details: object) -> None:
    """Another rbee may say anything there."""
    error = error_from({"error": {"code": "QUEUE_FULL", "details": details}}, status=503)
    assert error.code == "QUEUE_FULL" and error.report.details == {}
