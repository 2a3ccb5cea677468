"""A `llama-server` with a GPU that computes rubbish; on the CPU it computes sense."""

from __future__ import annotations

import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import msgspec


def install(folder: Path, *, fault: str = "") -> Path:
    """The program, as a file that can be chosen as an engine.

    `fault`: what it does when it is asked to compute; `silent`: nothing, `leaves`: it ends with 3.
    """
    path = folder / "llama-server"
    root = Path(__file__).parents[1]
    path.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(root)!r})\n"
        f"from tests.sick_engine import main\nmain(sys.argv[1:], {fault!r})\n"
    )
    path.chmod(0o755)
    return path


def main(arguments: list[str], fault: str = "") -> None:
    if "--version" in arguments:
        print("version: 1 (sick)")
    elif "--list-devices" in arguments:
        print("Available devices:\n  CUDA0: Sick GPU (8192 MiB, 8000 MiB free)")
    else:
        _serve(fault, on_gpu=_value(arguments, "--device") not in ("none", "cpu"))


def _value(arguments: list[str], flag: str) -> str:
    return arguments[arguments.index(flag) + 1] if flag in arguments else ""


def _serve(fault: str, *, on_gpu: bool) -> None:
    tokens = [6] * 8 if on_gpu else [*range(8)]

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer({"status": "ok"})

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            if fault == "leaves":
                os._exit(3)
            while fault == "silent":
                signal.pause()
            said = [{"logprob": -0.1, "bytes": [65]} for _ in tokens]
            self._answer({"tokens": tokens, "completion_probabilities": said})

        def _answer(self, body: object) -> None:
            data = msgspec.json.encode(body)
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    server = HTTPServer(("127.0.0.1", 0), Answers)
    if on_gpu:
        print("load_tensors:        CUDA0 model buffer size =    92.10 MiB")
    print(f"main: server is listening on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
