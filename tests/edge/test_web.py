"""Downloads from the web: streamed, never for ever silent, and no key in a foreign hand."""

import pytest

from rbee.edge.web import Web
from rbee.errors import RbeeError
from rbee.settings import Timing
from tests.file_server import Answer, Asked, FileServer, file_server

STALL_S = 5.0
SECRET = {"Authorization": "Bearer secret", "Range": "bytes=2-5"}


@pytest.fixture
def server():
    with file_server() as found:
        found.files["/a.gguf"] = b"0123456789" * 1000
        yield found


@pytest.fixture
def web(monkeypatch) -> Web:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return Web("tiny", Timing())


def body(web: Web, url: str, headers=None, stall_s: float = STALL_S) -> tuple[int, bytes]:
    with web.open(url, headers, stall_s=stall_s) as reply:
        return reply.status, b"".join(iter(lambda: reply.read(4096), b""))


def code_of(web: Web, url: str, stall_s: float = STALL_S) -> RbeeError:
    with pytest.raises(RbeeError) as caught:
        body(web, url, stall_s=stall_s)
    assert caught.value.facts["model"] == "tiny"
    return caught.value


def redirect(to: str, times: int = 1 << 30):
    left = [times]

    def act(asked: Asked, answer: Answer) -> None:
        if left[0]:
            left[0] -= 1
            answer.status, answer.headers, answer.body = 302, {"location": to}, b"moved"

    return act


def test_a_body_comes_as_it_is(web, server):
    """Every byte, asked for without compression."""
    status, data = body(web, server.url + "/a.gguf")

    assert (status, data) == (200, server.files["/a.gguf"])
    assert server.asked[0].headers["accept-encoding"] == "identity"
    assert "cookie" not in server.asked[0].headers


def test_a_status_is_an_answer_and_asked_once(web, server):
    """500 is given to the caller as it is: nobody asks again behind its back."""
    server.faults.append(lambda asked, answer: setattr(answer, "status", 500))

    assert body(web, server.url + "/a.gguf")[0] == 500
    assert len(server.asked) == 1


def test_a_redirect_within_its_origin_keeps_the_key(web, server):
    """Same scheme, host and port: the key is meant for it."""
    server.faults.append(redirect("/a.gguf?b", times=1))

    assert body(web, server.url + "/a.gguf", SECRET) == (206, b"2345")
    assert [one.headers.get("authorization") for one in server.asked] == ["Bearer secret"] * 2


@pytest.mark.parametrize("words", [b"", b"moved", b"moved " * 2000])
def test_a_redirect_leaves_a_connection_that_can_be_used(web, server, words):
    """Whatever stands in its body, nothing included, the next request is answered."""

    def move(asked: Asked, answer: Answer) -> None:
        if "?" not in asked.path:
            answer.status, answer.headers, answer.body = 302, {"location": "/a.gguf?b"}, words

    server.faults.append(move)

    assert body(web, server.url + "/a.gguf") == (200, server.files["/a.gguf"])


def test_another_origin_never_sees_the_key(web, server):
    """Another port is another origin: the range goes along, the key does not."""
    with file_server() as other:
        other.files["/b.gguf"] = b"abcdefgh"
        server.faults.append(redirect(other.url + "/b.gguf"))

        assert body(web, server.url + "/a.gguf", SECRET) == (206, b"cdef")
        assert other.asked[0].headers["range"] == "bytes=2-5"
        assert "secret" not in str(other.asked[0].headers)


def test_a_key_does_not_come_back_through_a_foreign_hand(web, server):
    """Only the origin itself gets the key, also where a foreign one sends us back to it."""
    with file_server() as other:
        server.faults.append(redirect(other.url + "/", times=1))
        other.faults.append(redirect(server.url + "/a.gguf"))

        assert body(web, server.url + "/a.gguf", SECRET) == (206, b"2345")
        assert "secret" not in str(other.asked)


@pytest.mark.parametrize(
    ("target", "word"),
    [
        ("/a.gguf", "more than 5 times"),
        ("file:///etc/passwd", "no web address"),
        ("ftp://127.0.0.1/x", "no web address"),
        ("http://[::1", "no address"),
        ("http://h:99999999/x", "no address"),
    ],
)
def test_redirects_lead_somewhere_or_nowhere(web, server, target, word):
    """A loop, another protocol, noise: SOURCE_BROKEN after at most six requests."""
    server.faults.append(redirect(target))
    error = code_of(web, server.url + "/a.gguf")

    assert error.code == "SOURCE_BROKEN" and word in error.facts["problem"]
    assert len(server.asked) <= 6


def test_a_silent_server_is_not_waited_for(web, server):
    """In the head as in the body: DOWNLOAD_STALLED, and the path is not told."""
    server.faults.append(lambda asked, answer: setattr(answer, "hold_after", 100))
    error = code_of(web, server.url + "/a.gguf", stall_s=0.2)

    assert error.code == "DOWNLOAD_STALLED" and "gguf" not in error.report.message


def test_a_cut_is_no_end(web, server):
    """A body that ends before its announced length is SOURCE_UNREACHABLE, never a short file."""
    server.faults.append(lambda asked, answer: setattr(answer, "cut_after", 5000))

    assert code_of(web, server.url + "/a.gguf").code == "SOURCE_UNREACHABLE"


def test_nobody_there_is_told(web, server):
    """A closed port: SOURCE_UNREACHABLE with the reason of the system."""
    with file_server() as gone:
        url = gone.url
    error = code_of(web, url + "/x")

    assert error.code == "SOURCE_UNREACHABLE"
    assert error.facts["problem"] == "connection refused"


def test_what_is_no_http_is_told(web):
    """A service that speaks something else."""
    import socket
    import threading

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def speak() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.sendall(b"220 mail.example ESMTP\r\n")
                peer.recv(4096)

        thread = threading.Thread(target=speak)
        thread.start()
        error = code_of(web, f"http://127.0.0.1:{listener.getsockname()[1]}/x")
        thread.join()

    assert error.code == "SOURCE_UNREACHABLE"


@pytest.mark.parametrize(("no_proxy", "through"), [("", True), ("127.0.0.1", False)])
def test_the_proxy_of_the_environment_is_used(web, server, monkeypatch, no_proxy, through):
    """http_proxy carries the request, unless no_proxy names the host."""
    with file_server() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", no_proxy)
        answers(proxy)
        body(web, server.url + "/a.gguf")

        assert bool(proxy.asked) is through
        assert bool(server.asked) is not through
        if through:
            assert proxy.asked[0].path == server.url + "/a.gguf"


def answers(proxy: FileServer) -> None:
    """A proxy that answers everything by itself."""

    def act(asked: Asked, answer: Answer) -> None:
        answer.status, answer.body = 200, b"from the proxy"

    proxy.faults.append(act)


def test_connections_are_used_again(web, server):
    """A body that was read to its end leaves its connection for the next one."""
    for _ in range(3):
        body(web, server.url + "/a.gguf")
    (pool,) = web._pools.values()
    connections = pool.connection_from_url(server.url)

    assert connections.num_connections == 1
