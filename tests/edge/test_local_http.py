"""The command line's HTTP client against a server that sends exactly the bytes of the test."""

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rbee.edge.local_http import Address, Broken, Reply, ask
from rbee.edge.unix_socket import listen_unix

Serve = Callable[..., Address]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server that reads one request, sends these pieces and closes."""
    listeners: list[socket.socket] = []
    threads: list[threading.Thread] = []
    requests: list[bytes] = []

    def start(*pieces: bytes, hold: threading.Event | None = None) -> Address:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def run() -> None:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            with peer:
                requests.append(peer.recv(65536))
                for piece in pieces:
                    peer.sendall(piece)
                if hold is not None:
                    hold.wait(5)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        threads.append(thread)
        return Address(host="127.0.0.1", port=listener.getsockname()[1])

    start.requests = requests  # type: ignore[attr-defined]
    yield start
    for listener in listeners:
        listener.close()
    for thread in threads:
        thread.join(5)


def test_a_whole_answer_is_read(serve: Serve) -> None:
    """Status, headers and a body of a known length."""
    reply = ask(
        serve(b"HTTP/1.1 404 Not Found\r\nX-A: b\r\nContent-Length: 5\r\n\r\nhello"), "GET", "/"
    )
    assert (reply.status, reply.header("x-a"), reply.body()) == (404, "b", b"hello")


def test_chunks_are_put_together(serve: Serve) -> None:
    """A chunked body in pieces that fall across its borders."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    reply = ask(
        serve(head + b"5\r\nhe", b"llo\r\n1;x=y\r\n!", b"\r\n0\r\nT: v\r\n\r\n"), "GET", "/"
    )
    assert reply.body() == b"hello!"


def test_lines_come_whole(serve: Serve) -> None:
    """Lines that fall across chunks, empty ones, and a last one without an end."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    reply = ask(serve(head + b"4\r\na\nbc\r\n5\r\nd\r\n\nx\r\n1\r\ny\r\n0\r\n\r\n"), "GET", "/")
    assert list(reply.lines()) == [b"a", b"bcd", b"", b"xy"]


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
        CHUNKED,
        CHUNKED + b"5\r\nhello",
        CHUNKED + b"5\r\nhello\r\n",
        CHUNKED + b"5\r\nhello\r\n0\r\n",
        CHUNKED + b"zz\r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"5\r\nhelloX\r\n0\r\n\r\n",
        CHUNKED + b"-5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nno length",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x00\x01\x02\n",
    ],
)
def test_a_cut_or_strange_answer_is_broken(serve: Serve, answer: bytes) -> None:
    """An answer that ends early is an error, never a shorter answer."""
    with pytest.raises(Broken):
        ask(serve(answer), "GET", "/").body()


def test_nobody_there_is_an_os_error(tmp_path: Path) -> None:
    """Refused and missing are told apart from broken: nothing was sent."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(OSError):
        ask(Address(host="127.0.0.1", port=port), "GET", "/")
    with pytest.raises(OSError):
        ask(Address(unix=tmp_path / "none.sock"), "GET", "/")


def test_the_request_is_what_was_asked(serve: Serve) -> None:
    """Method, path behind the prefix, Host, length and type of a body."""
    place = serve(b"HTTP/1.1 204 No Content\r\n\r\n")
    address = Address(host=place.host, port=place.port, prefix="/box")
    reply = ask(address, "POST", "/x", headers=[("A", "b")], body=b"{}")
    assert reply.body() == b""
    sent = serve.requests[0].decode()  # type: ignore[attr-defined]
    assert sent.startswith("POST /box/x HTTP/1.1\r\n")
    assert f"Host: 127.0.0.1:{place.port}\r\n" in sent
    assert "Content-Length: 2\r\n" in sent
    assert sent.endswith("\r\n\r\n{}")


def test_a_header_cannot_smuggle_a_line() -> None:
    """A key with a line break in it never becomes a second header."""
    with pytest.raises(ValueError, match="control"):
        from rbee.edge.local_http import _request

        _request(Address(host="h", port=1), "GET", "/", [("Authorization", "a\r\nX: b")], None)


def test_a_silent_server_is_waited_for_in_ticks(serve: Serve) -> None:
    """While nothing comes, the caller is asked; what it raises ends the wait."""
    hold = threading.Event()

    class Enough(Exception):
        pass

    def tick() -> None:
        raise Enough

    address = serve(hold=hold)
    with pytest.raises(Enough):
        ask(address, "GET", "/", tick_s=0.01, on_tick=tick)
    hold.set()


def test_a_100_continue_is_passed_over(serve: Serve) -> None:
    """Interim answers are not the answer."""
    both = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"
    assert ask(serve(both), "GET", "/").body() == b"x"


def test_unix_sockets_work_at_long_paths(tmp_path: Path) -> None:
    """RBEE_HOME may be longer than a socket address holds."""
    folder = tmp_path / ("d" * 120)
    folder.mkdir()
    listener = listen_unix(folder / "s.sock")
    listener.setblocking(True)
    replies: list[Reply] = []
    thread = threading.Thread(
        target=lambda: replies.append(ask(Address(unix=folder / "s.sock"), "GET", "/"))
    )
    thread.start()
    peer, _ = listener.accept()
    with peer, listener:
        peer.recv(65536)
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        thread.join(5)
        assert replies[0].body() == b"ok"


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://box:7833", Address(host="box", port=7833)),
        ("box:7833", Address(host="box", port=7833)),
        ("http://box:7833/v1/", Address(host="box", port=7833)),
        ("https://box/rbee", Address(host="box", port=443, tls=True, prefix="/rbee")),
        ("http://[::1]:1", Address(host="::1", port=1)),
    ],
)
def test_addresses_are_read(url: str, address: Address) -> None:
    """With or without scheme, `/v1`, path and brackets."""
    assert Address.from_url(url) == address


@pytest.mark.parametrize(
    "url", ["", "ftp://x", "http://", "http://u:p@x", "http://x:99999", "http://x?y"]
)
def test_bad_addresses_are_refused(url: str) -> None:
    """A ValueError that says what is wrong, and no other exception."""
    with pytest.raises(ValueError, match=r"\w"):
        Address.from_url(url)
