"""A server that somebody else runs, as rbee meets them: OpenAI's routes, and nothing of llama.cpp.

A double of a third party, for what no engine here does: tool-call deltas as vLLM writes them, or as
they were recorded, a key that is asked for, a server that is full. It counts where a model would
speak, refuses fields that only llama.cpp knows, and writes down what it is asked.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

FOREIGN_FIELDS = ("return_progress", "cache_prompt", "prompt_progress", "id_slot")
PROMPT_TOKENS = 7
HANGS_S = 60
PACE = threading.Event()
"""Never set: a wait for it is the time that a model takes."""

# In the form of vLLM with its hermes parser; ids are new in every answer.
TOOL_DELTAS: list[dict[str, Any]] = [
    {"tool_calls": [{"index": 0, "id": "", "type": "function", "function": {"name": "weather"}}]},
    {"tool_calls": [{"index": 0, "function": {"arguments": '{"ci'}}]},
    {"tool_calls": [{"index": 0, "function": {"arguments": 'ty": '}}]},
    {"tool_calls": [{"index": 0, "function": {"arguments": '"Köln'}}]},
    {"tool_calls": [{"index": 0, "function": {"arguments": '", "days'}}]},
    {"tool_calls": [{"index": 0, "function": {"arguments": '": 3}'}}]},
    {"tool_calls": [{"index": 1, "id": "", "type": "function", "function": {"name": "time"}}]},
    {"tool_calls": [{"index": 1, "function": {"arguments": '{"zone"'}}]},
    {"tool_calls": [{"index": 1, "function": {"arguments": ': "CET"}'}}]},
]


class Double(BaseHTTPRequestHandler):
    """One connection; the server's settings are the class's."""

    protocol_version = "HTTP/1.1"
    told: argparse.Namespace

    def do_GET(self) -> None:
        if not self._let_in():
            return
        if self.path != "/v1/models":
            self._say(404, {"error": {"message": "not found"}})
            return
        names = self.told.model
        entries = [{"id": name, "object": "model", "owned_by": self.told.owner} for name in names]
        self._say(
            200, {"object": "list", "data": [{**one, "max_model_len": 2048} for one in entries]}
        )

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)))
        self._write_down(body)
        if not self._let_in() or not self._wants(body):
            return
        if self.path == "/v1/embeddings":
            data = [{"object": "embedding", "index": 0, "embedding": [0.5, -0.5]}]
            self._say(200, {"object": "list", "model": body["model"], "data": data})
        elif self.path == "/v1/chat/completions":
            self._chat(body)
        else:
            self._say(404, {"error": {"message": "not found"}})

    def _let_in(self) -> bool:
        key = self.told.key
        sent = (self.headers.get("authorization") or "").removeprefix("Bearer ")
        if key and sent != key:
            # OpenAI's own words quote the key.
            self._say(401, {"error": {"message": f"Incorrect API key provided: {sent}"}})
            return False
        return True

    def _wants(self, body: dict[str, Any]) -> bool:
        prompt = str((body.get("messages") or [{}])[0].get("content"))
        foreign = [name for name in FOREIGN_FIELDS if name in body]
        if foreign:
            self._say(400, {"error": {"message": f"Extra inputs are not permitted: {foreign}"}})
        elif body.get("model") not in self.told.model:
            self._say(404, {"error": {"message": f"The model {body.get('model')} does not exist"}})
        elif prompt == "Too much":
            self._say(400, {"error": {"message": "max_tokens is too large"}})
        elif prompt == "Too many":
            self._say(429, {"error": {"message": "slow down"}}, [("retry-after", "7")])
        elif prompt == "Break":
            self._say(500, {"error": {"message": "CUDA error: an illegal memory access"}})
        else:
            return True
        return False

    def _chat(self, body: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": "chat.completion.chunk"}
        head |= {"created": int(time.time()), "model": body["model"]}
        if str(body["messages"][0]["content"]) == "Read long":
            PACE.wait(self.told.prompt_s)
        if str(body["messages"][0]["content"]) == "Begin never":
            PACE.wait(HANGS_S)
        if body.get("tools") and self.told.recorded:
            self._replay(head)
            return
        deltas, finish = _deltas(body)
        for number, delta in enumerate([{"role": "assistant", "content": ""}, *deltas]):
            if number == 4 and str(body["messages"][0]["content"]) == "Stop in the middle":
                PACE.wait(HANGS_S)
            self._event({**head, "choices": [_choice(delta)]})
            PACE.wait(self.told.gap_s)
        self._event({**head, "choices": [_choice({}, finish)]})
        said = len(deltas)
        usage = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": said}
        usage["total_tokens"] = PROMPT_TOKENS + said
        self._event({**head, "choices": [], "usage": usage})
        self._chunk(b"data: [DONE]\n\n")
        self._chunk(b"")

    def _replay(self, head: dict[str, Any]) -> None:
        """What was recorded, event by event, with ids of this answer."""
        for value in recorded(Path(self.told.recorded)):
            for choice in value["choices"]:
                for call in choice["delta"].get("tool_calls") or ():
                    if call.get("id"):
                        call["id"] = uuid.uuid4().hex
            self._event({**value, **head})
            PACE.wait(self.told.gap_s)
        self._chunk(b"data: [DONE]\n\n")
        self._chunk(b"")

    def _event(self, said: object) -> None:
        self._chunk(b"data: " + json.dumps(said).encode() + b"\n\n")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def _say(self, status: int, said: object, headers: list[tuple[str, str]] | None = None) -> None:
        data = json.dumps(said).encode()
        self.send_response(status)
        for name, value in [("content-type", "application/json"), *(headers or [])]:
            self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _write_down(self, body: object) -> None:
        if self.told.log:
            headers = {name.lower(): value for name, value in self.headers.items()}
            line = json.dumps({"path": self.path, "headers": headers, "body": body})
            with open(self.told.log, "a") as log:
                log.write(line + "\n")

    def log_message(self, *words: object) -> None:
        """Nothing goes to a terminal."""


def recorded(path: Path) -> Iterator[dict[str, Any]]:
    """The chunks of a recorded answer."""
    for line in path.read_text().splitlines():
        if line.startswith("data: {"):
            yield json.loads(line[6:])


def _deltas(body: dict[str, Any]) -> tuple[list[dict[str, Any]], str]:
    """What is said: the recorded calls if tools are offered, else numbers, which go on where the
    beginning of an answer ends."""
    if body.get("tools"):
        named = json.loads(json.dumps(TOOL_DELTAS))
        for delta in named:
            for call in delta["tool_calls"]:
                if "id" in call:
                    call["id"] = f"call_{uuid.uuid4().hex[:8]}"
        return named, "tool_calls"
    last = body["messages"][-1]
    goes_on = last["role"] == "assistant" and body.get("continue_final_message") is True
    begun = len(last["content"].split()) if goes_on else 0
    count = int(body.get("max_tokens") or 16)
    return [{"content": f"{number} "} for number in range(begun, begun + count)], "length"


def _choice(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--model", action="append", required=True)
    parser.add_argument("--owner", default="vllm")
    parser.add_argument("--key", default="")
    parser.add_argument("--gap-s", type=float, default=0.01)
    parser.add_argument("--prompt-s", type=float, default=0, help="how long it reads a long prompt")
    parser.add_argument("--recorded", default="", help="the answer to whoever brings tools")
    parser.add_argument("--log", default="")
    Double.told = parser.parse_args()
    server = ThreadingHTTPServer((Double.told.host, Double.told.port), Double)
    server.daemon_threads = True
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
