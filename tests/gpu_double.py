"""A `llama-server` with GPUs that fail when a test says so, and no model: it answers self-tests.

Files in its folder say what its devices do: `devices` is the list that it prints; `CUDA0` what a
load on that device says before it aborts (`nothing`: it puts nothing there); `layers` how many of
them it puts there (`12/31`).
"""

from __future__ import annotations

import os
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import msgspec

GPU = "A GPU (8192 MiB, 8000 MiB free)"


def install(folder: Path, *names: str) -> Path:
    """The program, with these devices (`CUDA0`, …)."""
    offer(folder, *names)
    path = folder / "llama-server"
    root = Path(__file__).parents[1]
    path.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(root)!r})\n"
        f"from tests.gpu_double import main\nmain({str(folder)!r}, sys.argv[1:])\n"
    )
    path.chmod(0o755)
    return path


def offer(folder: Path, *names: str) -> None:
    """It has these devices from now on."""
    (folder / "devices").write_text("".join(f"  {name}: {GPU}\n" for name in names))


def main(folder: str, arguments: list[str]) -> None:
    here = Path(folder)
    if "--version" in arguments:
        print("version: 1 (a double)")
        return
    if "--list-devices" in arguments:
        print("Available devices:\n" + (here / "devices").read_text())
        return
    asked = arguments[arguments.index("--device") + 1] if "--device" in arguments else "none"
    devices = [] if asked == "none" else asked.split(",")
    used = [one for one in devices if _loads(here / one)] or ["CPU_Mapped"]
    if (here / "layers").exists():
        print(f"load_tensors: offloaded {(here / 'layers').read_text()} layers to GPU")
    for one in used:
        print(f"load_tensors:        {one} model buffer size =    92.10 MiB")
    server = HTTPServer(("127.0.0.1", 0), _Answers)
    print(f"main: server is listening on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


def _loads(fault: Path) -> bool:
    if not fault.exists():
        return True
    if fault.read_text() == "nothing":
        return False
    _abort(fault.read_text())
    return False


def _abort(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
    os.abort()


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._answer({"status": "ok"})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        said = [{"logprob": -0.1, "bytes": [65]} for _ in range(8)]
        self._answer({"tokens": [*range(8)], "completion_probabilities": said})

    def _answer(self, body: object) -> None:
        data = msgspec.json.encode(body)
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        return
