"""`rbee keys`: who may call this rbee over the network, for how long and how much."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from rbee.edge.home import Home
from rbee.edge.key_file import KeyFile
from rbee.keeper.acts import write_down
from rbee.keeper.connection import Connection, checked
from rbee.keeper.parsing import Parser, amount_flag, count_flag, verbs
from rbee.keeper.render import Screen, put, table
from rbee.keeper.starting import lock, prepare, settled
from rbee.policy.keys import moment, state
from rbee.wire.keys import INFER, ROLES, KeyAsk, shown


def run(command: str, arguments: Sequence[str]) -> int:
    does = {"create": _create, "list": _list, "revoke": _revoke}
    verb, rest = verbs(command, arguments, does)
    return does[verb](rest)


def _create(arguments: Sequence[str]) -> int:
    parser = Parser("keys create", "Make a key. It is printed once, and kept nowhere.")
    parser.add_argument("--name", default="", help="whose it is")
    parser.add_argument("--role", choices=ROLES, default=INFER, help="admin may do everything")
    parser.add_argument("--expires", type=expiry_flag, default=0.0, metavar="30d|DATE")
    parser.add_argument("--rpm", type=amount_flag, default=0, metavar="N", help="requests a minute")
    parser.add_argument("--tpm", type=amount_flag, default=0, metavar="N", help="tokens a minute")
    parser.add_argument(
        "--concurrent", type=count_flag, default=0, metavar="N", help="requests at once"
    )
    asked = parser.parse(arguments)
    ask = KeyAsk(
        name=asked.name,
        roles=(asked.role,),
        expires_at=asked.expires,
        rpm=asked.rpm,
        tpm=asked.tpm,
        concurrent=asked.concurrent,
    )
    screen = Screen.on(sys.stderr, json=asked.json)
    made, first = _made(asked.url, ask, screen)
    if asked.json:
        put(made)
        return 0
    print(made["key"], flush=True)
    until = f"until {moment(made['expires_at'])}" if made["expires_at"] else "without end"
    screen.mark("done", f"key {made['id']}, valid {until}; it is shown this once")
    if first:
        screen.mark("other", "from now on every request over the network address needs a key")
    return 0


def _made(url: str, ask: KeyAsk, screen: Screen) -> tuple[dict[str, Any], bool]:
    """The new key, and whether it is the first."""
    connection = Connection.of(url)
    if not connection.local or connection.running():
        connection = checked(url)
        first = not connection.get("/rbee/keys")["keys"]
        made = connection.post("/rbee/keys/create", _plain(ask))
        return dict(made), first
    home = connection.home
    prepare(home)
    with lock(home, screen):
        if settled(home) is not None:
            return _made(url, ask, screen)
        file = _loaded(home)
        first = not file.records
        now = time.time()
        new = file.create(ask, now)
        write_down(home, "keys/create", f"made={new.record.id} roles={','.join(ask.roles)}")
    return {**shown(new.record, state(new.record, now)), "key": new.key}, first


def _list(arguments: Sequence[str]) -> int:
    parser = Parser("keys list", "All keys, without their secrets.")
    asked = parser.parse(arguments)
    connection = Connection.of(asked.url)
    if connection.local and not connection.running():
        now = time.time()
        found = [shown(one, state(one, now)) for one in _loaded(connection.home).records.values()]
    else:
        found = checked(asked.url).get("/rbee/keys")["keys"]
    if asked.json:
        for one in found:
            put(one)
        return 0
    head = ("ID", "NAME", "STATE", "ROLES", "EXPIRES", "LIMITS")
    print(table(head, [_row(one) for one in found]) if found else _NONE)
    return 0


_NONE = "There are no keys, and this machine's programs need none: rbee keys create"


_LIMITS = (("rpm", "requests/min"), ("tpm", "tokens/min"), ("concurrent", "at once"))


def _row(one: dict[str, Any]) -> list[str]:
    limits = [f"{one[name]} {words}" for name, words in _LIMITS if one[name]]
    expires = moment(one["expires_at"]) if one["expires_at"] else "–"
    roles = ", ".join(one["roles"])
    return [one["id"], one["name"] or "–", one["state"], roles, expires, ", ".join(limits) or "–"]


def _revoke(arguments: Sequence[str]) -> int:
    parser = Parser("keys revoke", "From now on the key opens nothing; running answers end well.")
    parser.add_argument("id", metavar="ID", help="the eight letters after rb_")
    parser.add_argument(
        "--forget",
        action="store_true",
        help="also drop its record; without any record, programs of this machine need no key again",
    )
    asked = parser.parse(arguments)
    screen = Screen.on(sys.stderr, json=asked.json)
    revoked = _revoked(asked, _id_of(asked.id), screen)
    if asked.json:
        put(revoked)
        return 0
    screen.mark("done", f"key {revoked['id']} is revoked")
    if not revoked["left"]:
        screen.mark("other", "no key is left: programs of this machine need none again")
    return 0


def _revoked(asked: argparse.Namespace, id_: str, screen: Screen) -> dict[str, Any]:
    connection = Connection.of(asked.url)
    if not connection.local or connection.running():
        body = {"id": id_, "forget": asked.forget}
        return dict(checked(asked.url).post("/rbee/keys/revoke", body))
    home = connection.home
    prepare(home)
    with lock(home, screen):
        if settled(home) is not None:
            return _revoked(asked, id_, screen)
        file = _loaded(home)
        record = file.revoke(id_, time.time(), forget=asked.forget)
        write_down(home, "keys/revoke", f"id={record.id}")
    return {**shown(record, "revoked"), "left": len(file.records)}


def _id_of(text: str) -> str:
    """Somebody pastes the whole key: its id is in it, and the rest goes nowhere."""
    return text.split("_")[1] if text.startswith("rb_") and text.count("_") > 1 else text


def _loaded(home: Home) -> KeyFile:
    file = KeyFile(home.keys_file)
    file.load()
    return file


def _plain(ask: KeyAsk) -> dict[str, Any]:
    from msgspec import structs

    return {**structs.asdict(ask), "roles": list(ask.roles)}


def expiry_flag(text: str) -> float:
    """`30d` from now, or the beginning of a day in UTC, in seconds since 1970."""
    from rbee.wire.units import parse_time_s

    try:
        day = datetime.fromisoformat(text)
    except ValueError:
        try:
            return time.time() + parse_time_s(text)
        except ValueError as exc:
            problem = f'{text[:40]} is neither a time such as "30d" nor a date such as 2027-01-01'
            raise argparse.ArgumentTypeError(problem) from exc
    return (day if day.tzinfo else day.replace(tzinfo=UTC)).timestamp()
