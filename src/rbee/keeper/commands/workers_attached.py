"""`rbee workers attach` and `detach`: servers that somebody else runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rbee.keeper.connection import checked
from rbee.keeper.parsing import Parser, count_flag
from rbee.keeper.render import Screen, put

_WHAT = (
    "Put a server that somebody else runs (vLLM, Ollama, llama-server, anything that speaks "
    "OpenAI's API) into the pool."
)


def attach(arguments: Sequence[str]) -> int:
    parser = Parser("workers attach", _WHAT)
    parser.add_argument("address", metavar="URL", help="http://HOST:PORT/v1, or https")
    parser.add_argument(
        "--model",
        default="",
        metavar="NAME[=THEIRS]",
        help="which of its models, and what it is called here",
    )
    parser.add_argument(
        "--key-env", default="", metavar="VAR", help="variable of rbee's environment with the key"
    )
    parser.add_argument("--key-file", default="", metavar="PATH", help="file (0600) with the key")
    parser.add_argument("--ctx", type=count_flag, default=0, metavar="TOKENS", help="its context")
    parser.add_argument("--slots", type=count_flag, default=0, metavar="N", help="answers at once")
    asked = parser.parse(arguments)
    key_file = str(Path(asked.key_file).absolute()) if asked.key_file else ""
    told = checked(asked.url).post(
        "/rbee/workers/attach",
        {
            "url": asked.address,
            "model": asked.model,
            "key_env": asked.key_env,
            "key_file": key_file,
            "ctx": asked.ctx,
            "slots": asked.slots,
        },
    )
    if asked.json:
        put(told)
        return 0
    theirs = "" if told["theirs"] == told["model"] else f" (there: {told['theirs']})"
    words = f"{told['worker']} serves {told['model']}{theirs} from {told['address']}"
    Screen.on(sys.stderr).mark("done", words)
    return 0


def detach(arguments: Sequence[str]) -> int:
    parser = Parser("workers detach", "Take an attached server out of the pool; it runs on.")
    parser.add_argument("worker", metavar="WORKER|URL")
    asked = parser.parse(arguments)
    body = {"worker": asked.worker}
    detached = checked(asked.url).post("/rbee/workers/detach", body)["detached"]
    if asked.json:
        put({"detached": detached})
    else:
        Screen.on(sys.stderr).mark("done", f"detached {', '.join(detached)}")
    return 0
