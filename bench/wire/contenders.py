"""Who is measured: each a gateway in front of the engine double, in processes of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.stack import Stack
from bench.wire.programs import compiled, installed, nginx
from tests.model_file import model_path

_READY_WITHIN_S = 90
_SLOTS = 1024
_NO_LIMIT = "1000000000"

_NGINX = """
daemon off; worker_processes 1; error_log stderr crit; pid {home}/nginx.pid;
events {{ worker_connections 16384; }}
http {{
  access_log off; keepalive_requests 1000000000; client_body_temp_path {home}/body;
  proxy_temp_path {home}/proxy; fastcgi_temp_path {home}/f; uwsgi_temp_path {home}/u;
  scgi_temp_path {home}/s;
  upstream engine {{ server 127.0.0.1:{engine}; keepalive 512; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://engine; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off; proxy_read_timeout 300s;
    }}
  }}
}}
"""

_LITELLM = """
model_list:
  - model_name: tiny
    litellm_params: {{model: openai/tiny, api_base: "http://127.0.0.1:{engine}/v1", api_key: any}}
"""


@dataclass(frozen=True)
class Contender:
    """Where it listens, and the processes that it consists of."""

    name: str
    port: int
    pids: tuple[int, ...]
    key: str = "any"
    engine_port: int = 0
    """Of the engine behind it."""

    def cpu_us(self) -> float:
        """What all its threads have computed so far, as the scheduler counts it."""
        return sum(_cpu_us(pid) for pid in self.pids)

    def resident_mib(self) -> float:
        return sum(psutil.Process(pid).memory_info().rss for pid in self.pids) / (1 << 20)


def _cpu_us(pid: int) -> float:
    """proc(5), schedstat: nanoseconds on a processor, exact where `stat` counts in ticks."""
    found = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += int((task / "schedstat").read_text().split()[0])
    return found / 1000


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def everybody(names: list[str]) -> Iterator[list[Contender]]:
    """All that can be had of these, ready, each pinned to the last processor; engines are not."""
    with ExitStack() as stack:
        engine = stack.enter_context(_engine())
        found = [Contender("direct", engine, (), engine_port=engine)]
        makers = {"nginx": _nginx, "vllm-router": _router, "litellm": _litellm}
        for name, make in makers.items():
            if name in names:
                contender = make(stack, engine)
                found += [contender] if contender is not None else []
        if "rbee" in names:
            found.append(stack.enter_context(rbee()))
        for contender in found:
            for pid in contender.pids:
                _pin(pid)
        yield found


@contextmanager
def rbee(**variables: str) -> Iterator[Contender]:
    """The queen with a worker on the double, and a key with limits of every kind."""
    stack = Stack(
        model_path(),
        RBEE_ENGINE_PATH=str(compiled("engine")),
        RBEE_DEFAULTS_PARALLEL=str(_SLOTS),
        RBEE_DEFAULTS_CTX="512",
        RBEE_MEMORY="1000GB",
        **variables,
    )
    try:
        stack.rbee("serve", str(stack.file), "--wait")
        limits = ("--rpm", _NO_LIMIT, "--tpm", _NO_LIMIT, "--concurrent", "1000000")
        made = json.loads(stack.rbee("keys", "create", "--name", "bench", *limits, "--json"))
        pid = json.loads((stack.home / "run" / "queen.json").read_text())["pid"]
        engine_port = json.loads(stack.rbee("ps", "--json"))["workers"][0]["port"]
        if not _answers(stack.queen.port, made["key"], within_s=60):
            raise SystemExit(f"no embedding came: {stack.rbee('ps')}")
        yield Contender("rbee", stack.queen.port, (pid,), made["key"], engine_port)
    finally:
        stack.end()


@contextmanager
def _engine() -> Iterator[int]:
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([compiled("engine"), "--alias", "tiny"], stderr=log)
        try:
            until = time.monotonic() + 5
            while time.monotonic() < until:
                log.seek(0)
                if told := re.search(rb":(\d+)\n", log.read()):
                    yield int(told[1])
                    return
                time.sleep(0.01)
            raise SystemExit("the engine double did not start")
        finally:
            process.kill()
            process.wait()


def _nginx(stack: ExitStack, engine: int) -> Contender | None:
    program = nginx()
    if program is None:
        return None
    home = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-nginx-"))
    Path(home).chmod(0o755)
    port = free_port()
    conf = Path(home) / "nginx.conf"
    conf.write_text(_NGINX.format(home=home, port=port, engine=engine))
    return _started(stack, "nginx", [program, "-p", home, "-c", str(conf)], port, engine)


def _router(stack: ExitStack, engine: int) -> Contender | None:
    program = installed("vllm-router", "vllm-router", program="vllm-router")
    if program is None:
        return None
    port, metrics = free_port(), free_port()
    words = [str(program), "--host", "127.0.0.1", "--port", str(port)]
    words += ["--worker-urls", f"http://127.0.0.1:{engine}", "--policy", "round_robin"]
    words += ["--prometheus-port", str(metrics), "--log-level", "error"]
    return _started(stack, "vllm-router", words, port, engine)


def _litellm(stack: ExitStack, engine: int) -> Contender | None:
    program = installed("litellm", "litellm[proxy]", program="litellm")
    if program is None:
        return None
    port = free_port()
    conf = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-"))) / "litellm.yaml"
    conf.write_text(_LITELLM.format(engine=engine))
    words = [str(program), "--config", str(conf), "--host", "127.0.0.1", "--port", str(port)]
    variables = {"LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true"}
    return _started(stack, "litellm", words, port, engine, **variables)


def _started(
    stack: ExitStack, name: str, words: list[str], port: int, engine: int, **variables: str
) -> Contender | None:
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-log-"))
    log = stack.enter_context((Path(folder) / "log").open("w+b"))
    process = subprocess.Popen(
        words,
        env={**os.environ, **variables},
        stdout=log,
        stderr=log,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    stack.callback(_end, process)
    until = time.monotonic() + _READY_WITHIN_S
    while process.poll() is None and time.monotonic() < until:
        if _answers(port):
            family = [process.pid, *(one.pid for one in psutil.Process(process.pid).children(True))]
            return Contender(name, port, tuple(family), engine_port=engine)
        time.sleep(0.1)
    log.seek(0)
    print(f"… {name} did not start: {log.read()[-500:].decode(errors='replace')}")
    return None


def _answers(port: int, key: str = "any", within_s: float = 5) -> bool:
    """Whether an embedding comes through."""
    data = b'{"model":"tiny","input":"x"}'
    head = f"POST /v1/embeddings HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(data)}\r\n"
    head += f"Content-Type: application/json\r\nAuthorization: Bearer {key}\r\n"
    head += "Connection: close\r\n\r\n"
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=within_s) as sock:
            sock.sendall(head.encode() + data)
            return sock.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _pin(pid: int) -> None:
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {(os.cpu_count() or 1) - 1})
