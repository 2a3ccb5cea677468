"""The way to a distant rbee, with real sockets."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from rbee.edge.dial_file import DialFile
from rbee.edge.home import Home
from rbee.edge.local_http import Address, Broken, Reply, ask
from rbee.errors import RbeeError
from rbee.keeper.dialing import Dialing
from rbee.policy.dial_breaker import OPENS_AFTER, Line
from rbee.settings import Timing
from tests.eventually import eventually
from tests.keeper.conftest import Rbee

FAST = Timing(dial_first_s=0.02, dial_open_s=60)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that nobody else takes and that refuses calls."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


class Phone:
    """Dials a port of this machine as if it were far away."""

    def __init__(self, home: Home, port: int, timing: Timing = FAST) -> None:
        self.file = DialFile(home)
        self.dials = 0
        self.pauses: list[str] = []
        self._address = Address(host="127.0.0.1", port=port)
        self._dialing = Dialing("http://far:1", self.file, timing, on_pause=self._paused)

    def reach(self) -> Reply:
        return self._dialing.reach(self._send, lambda: None)

    def knows(self, line: Line) -> None:
        self.file.change("http://far:1", lambda _: (None, line))

    def _send(self, connect_s: float) -> Reply:
        self.dials += 1
        return ask(self._address, "GET", "/", connect_s=connect_s)

    def _paused(self, step: str, words: str) -> None:
        if step not in self.pauses:
            self.pauses.append(step)


def code_of(phone: Phone) -> str:
    with pytest.raises(RbeeError) as raised:
        phone.reach()
    return raised.value.code


def test_it_is_dialled_six_times_and_then_left_alone(home: Home, closed_port: int) -> None:
    """Five pauses that double; the next command does not wait for what is known already."""
    phone = Phone(home, closed_port)
    began = time.monotonic()
    assert code_of(phone) == "NETWORK_UNREACHABLE"
    assert time.monotonic() - began >= 0.5 * (0.02 + 0.04 + 0.08 + 0.16 + 0.32)
    assert (phone.dials, len(phone.pauses)) == (6, 5)
    other = Phone(home, closed_port)
    assert (code_of(other), other.dials) == ("NETWORK_PAUSED", 0)


def test_after_its_time_one_dial_is_tried(home: Home, closed_port: int) -> None:
    """And held back again at once if that fails."""
    phone = Phone(home, closed_port)
    phone.knows(Line(OPENS_AFTER, time.monotonic() - 61))
    assert (code_of(phone), phone.dials) == ("NETWORK_UNREACHABLE", 1)
    assert (code_of(phone), phone.dials) == ("NETWORK_PAUSED", 1)


def test_an_answer_opens_the_way(home: Home) -> None:
    """It comes up while somebody waits; everything known against it is forgotten."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        phone = Phone(home, sock.getsockname()[1], Timing(dial_first_s=0.5))
        phone.knows(Line(4, time.monotonic()))
        served: list[bytes] = []

        def serve() -> None:
            eventually(lambda: phone.pauses, within_s=10)
            sock.listen()
            peer, _ = sock.accept()
            with peer:
                served.append(peer.recv(4096))
                peer.sendall(ANSWER)

        thread = threading.Thread(target=serve)
        thread.start()
        reply = phone.reach()
        thread.join(10)
        assert reply.body() == b"ok" and phone.dials >= 2 and len(served) == 1
        reply.close()
    assert phone.file.change("http://far:1", lambda line: (line.failures, line)) == 0


def test_what_was_accepted_is_not_sent_again(home: Home) -> None:
    """The answer breaks off: the request may have been acted upon."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        phone = Phone(home, sock.getsockname()[1])

        def serve() -> None:
            peer, _ = sock.accept()
            with peer:
                peer.recv(4096)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(Broken):
            phone.reach()
        thread.join(10)
    assert phone.dials == 1


def test_the_real_command_says_what_is_wrong(rbee: Rbee, home: Home, closed_port: int) -> None:
    """Exit code 255, the address and why; `rbee up` clears what is known."""
    far = {"RBEE_URL": f"http://127.0.0.1:{closed_port}", "RBEE_DIAL_FIRST_S": "0.02"}
    done = rbee("ps", env=far)
    assert (done.returncode, "NETWORK_UNREACHABLE" in done.stderr) == (255, True), done.stderr
    assert "nothing listens on that port" in done.stderr
    done = rbee("models", "list", env=far)
    assert (done.returncode, "NETWORK_PAUSED" in done.stderr) == (255, True), done.stderr
    rbee("up", "--detach", "--host", "0.0.0.0")  # refused, and yet a word of the person's
    assert "NETWORK_UNREACHABLE" in rbee("ps", env=far).stderr
    assert rbee("version", env=far).returncode == 0


def test_a_deadline_holds_while_it_dials(rbee: Rbee, home: Home, closed_port: int) -> None:
    """`--timeout` counts from the first dial."""
    far = {"RBEE_URL": f"http://127.0.0.1:{closed_port}"}
    began = time.monotonic()
    done = rbee("infer", "-m", "tiny", "-p", "Hi", "--timeout", "1", env=far)
    assert (done.returncode, "DEADLINE_EXCEEDED" in done.stderr) == (124, True), done.stderr
    assert time.monotonic() - began < 10
