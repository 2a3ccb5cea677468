"""When: deeds through the keeper, over HTTP, or with signals."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import threading
from pathlib import Path

import httpx
import psutil
from pytest_bdd import parsers, when

import plain_http
from eventually import eventually
from faults import files, sockets
from world import chat_body

SIGNALS = {
    "SIGKILL": signal.SIGKILL,
    "SIGTERM": signal.SIGTERM,
    "SIGSTOP": signal.SIGSTOP,
    "SIGINT": signal.SIGINT,
    "SIGABRT": signal.SIGABRT,
    "SIGSEGV": signal.SIGSEGV,
}


@when(parsers.parse("I run rbee {words}"))
def run(world, words):
    names = ("file", "port", "address", "key_file", "job")
    told = words.format(**{name: world.seen.get(name, "") for name in names})
    world.keeper(*shlex.split(told))


@when(parsers.parse("I press Ctrl-C in the answer of rbee {words}"))
def run_and_interrupt(world, words):
    process = world.home.begin(*shlex.split(words))
    eventually(lambda: world.home.workers("BUSY"), within_s=30)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    world.seen["interrupted"] = (process.returncode, out, err)


@when(parsers.re(r"the (?P<who>\w+) gets (?P<name>\w+)$"))
def signalled(world, who, name):
    pid = pid_of(world, who)
    world.seen["workers"] = [one["pid"] for one in world.home.workers()]
    world.seen["pid"] = pid
    os.kill(pid, SIGNALS[name])


@when(parsers.parse("workers get {name} until rbee gives up, at most {times:d} times"))
def signalled_often(world, name, times):
    for _ in range(times):
        worker = eventually(lambda: awake(world), within_s=30)
        if worker["state"] == "QUARANTINED":
            return
        os.kill(worker["pid"], SIGNALS[name])
        eventually(lambda pid=worker["pid"]: not psutil.pid_exists(pid), within_s=10)


def awake(world):
    """A worker that serves, or one that is not started again."""
    found = world.home.workers("READY", "BUSY", "QUARANTINED")
    return found[0] if found else None


def pid_of(world, who):
    if who == "worker":
        return world.ready_worker()["pid"]
    shown = world.home.ps()
    return shown["queen"]["pid"] if who == "queen" else shown["hives"][0]["pid"]


@when(parsers.parse("I ask for {count:d} tokens"))
def ask_tokens(world, count):
    world.answer = world.home.chat(max_tokens=count)


@when(parsers.re(r"I request (?P<method>\S+) (?P<path>\S+)"))
def ask(world, method, path):
    world.ask(method, path)


@when(parsers.parse("I ask with the id {text}"))
def ask_with_id(world, text):
    world.seen["id"] = text
    headers = {"x-request-id": text}
    world.ask("POST", "/v1/chat/completions", json=chat_body(max_tokens=1), headers=headers)


@when("I ask with an id that is no plain word")
def ask_with_bad_id(world):
    ask_with_id(world, '"; shutdown')


@when(parsers.parse("I request {method} {path} with the header {name}: {value}"))
def ask_with_header(world, method, path, name, value):
    world.ask(method, path, headers={name: value})


@when(parsers.parse("I post to {path} the body {body}"))
def post(world, path, body):
    headers = {"content-type": "application/json"}
    data = body.encode().decode("unicode_escape").encode("latin-1")
    world.ask("POST", path, content=data, headers=headers)


@when(parsers.parse("I post text to {path}"))
def post_text(world, path):
    world.ask("POST", path, content=b"{}", headers={"content-type": "text/plain"})


@when(parsers.parse("I send a prompt of {count:d} words"))
def long_prompt(world, count):
    world.answer = world.home.chat(prompt="word " * count)


@when("I send bytes that are no HTTP")
def no_http(world):
    port = int(world.home.url.rsplit(":", 1)[1])
    world.seen["raw"] = sockets.raw(port, b"\x16\x03\x01\x02\x00 hello\r\n\r\n")


@when(parsers.parse("{count:d} clients ask at once"))
def many(world, count):
    answers = []

    def one():
        answers.append(world.home.chat(max_tokens=24))

    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    world.seen["answers"] = answers


@when(parsers.parse("{count:d} clients connect and say nothing"))
def silent_clients(world, count):
    port = int(world.home.url.rsplit(":", 1)[1])
    world.seen["clients"] = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]


@when("they hang up")
def silent_clients_leave(world):
    for one in world.seen["clients"]:
        one.close()


@when("I send half a request")
def half_request(world):
    port = int(world.home.url.rsplit(":", 1)[1])
    world.seen["raw"] = sockets.raw(port, b"GET /health HTTP/1.1\r\nHost: localh", ends=False)


@when(parsers.parse("I send a body of {size_mib:d} MiB"))
def large_body(world, size_mib):
    data = b'{"model": "tiny", "prompt": "' + b"x" * (size_mib << 20) + b'"}'
    headers = {"content-type": "application/json"}
    world.ask("POST", "/v1/completions", content=data, headers=headers)


@when("the client of the stream hangs up")
def hang_up(world):
    stream = world.streams[-1]
    stream.hang_up.set()
    assert stream.ended.wait(10)


@when("a client hangs up while its prompt is being read")
def hang_up_in_prefill(world):
    prompt = "word " * 400
    body = {"model": "tiny", "messages": [{"role": "user", "content": prompt}], "stream": True}
    try:
        plain_http.post(world.home.url + "/v1/chat/completions", json=body, timeout=0.6)
    except httpx.TimeoutException:
        world.seen["hung up"] = True


@when("the stored file changes by one bit")
def flip(world):
    blobs = list((world.home.path / "models" / "blobs").iterdir())
    original = blobs[0].resolve()
    data = original.read_bytes()
    original.unlink()
    original.write_bytes(data)
    files.flipped(original)


@when(parsers.parse("a model of {size_gb:d} GB is being hashed"))
def hash_large(world, size_gb):
    target = world.home.file("whole.gguf").with_name("large.gguf")
    files.large(target, size_gb << 30)
    pull = world.home.begin("models", "pull", str(target))
    slowest = 0.0
    looks = 0
    pids = [world.home.ps()["queen"]["pid"], os.getpid()]
    with plain_http.client(base_url=world.home.url) as client:
        client.get("/health")
        while pull.poll() is None:
            before = stolen_s() + sum(map(kept_waiting_s, pids))
            took_s = client.get("/health").elapsed.total_seconds()
            waited_s = stolen_s() + sum(map(kept_waiting_s, pids)) - before
            slowest = max(slowest, took_s - waited_s)
            looks += 1
    world.seen["slowest_s"], world.seen["looks"] = slowest, looks
    world.seen["pull"] = (pull.returncode, pull.communicate()[1])


def kept_waiting_s(pid):
    """How long a process was ready to run while the kernel let others run: on a busy machine that
    is no fault of its loop (proc(5), schedstat, second field)."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9


def stolen_s():
    """How long the host gave our processors to other machines (proc(5), /proc/stat, eighth field):
    while that lasts nothing here runs, whatever its loop does."""
    ticks = int(Path("/proc/stat").read_text().split(maxsplit=9)[8])
    return ticks / os.sysconf("SC_CLK_TCK")


@when(parsers.parse("the other rbee runs {words}"))
def other_runs(world, words):
    world.home.env["PYTHONPATH"] = world.seen["elsewhere"]
    try:
        world.keeper(*shlex.split(words))
    finally:
        del world.home.env["PYTHONPATH"]


@when("everything of rbee is killed at once")
def kill_all(world):
    for process in world.home.processes():
        try:
            process.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue


@when("I begin to serve the model tiny")
def begin_to_serve(world):
    world.keeper("serve", "tiny", "--no-wait")


@when(parsers.parse("I run up, infer and down {times:d} times"))
def cycles(world, times):
    for _ in range(times):
        for words in ("up --detach", "infer -m tiny -p Hi --max-tokens 2", "down"):
            outcome = world.keeper(*words.split())
            assert outcome.code == 0, str(outcome)
        assert not world.home.left(), world.home.left()


@when(parsers.parse("the disk keeps only half of {name}"))
def cut_in_half(world, name):
    file = world.home.path / name
    whole = file.read_bytes()
    world.seen["left"] = whole[: len(whole) // 2]
    file.write_bytes(world.seen["left"])
