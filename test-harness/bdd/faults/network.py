"""Two network namespaces and a cable between them: rbee on one side, its clients on the other.

Faults are of the kernel's own making: rules of iptables and a link that is taken down. Nothing
outside of the two namespaces is touched, and they go when the scenario ends.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

RBEE_ADDRESS = "10.203.0.1"
CLIENT_ADDRESS = "10.203.0.2"
_LIMIT_S = 20


class Missing(Exception):
    """What this machine lacks for it, in the words of a skip."""


class Network:
    """The cable, and what goes wrong with it."""

    def __init__(self, name: str) -> None:
        self.rbee_side = f"rbee-{name}-a"
        self.client_side = f"rbee-{name}-b"
        self.link = f"rb{name}b"

    def there(self, side: str) -> list[str]:
        """What stands before a command that is to run on that side."""
        return ["ip", "netns", "exec", side]

    def drop_everything(self) -> None:
        """A cable that is cut: nothing arrives, nobody is told."""
        self._rule(self.rbee_side, "INPUT", "-j", "DROP")
        self._rule(self.rbee_side, "OUTPUT", "-j", "DROP")

    def reset_everything(self) -> None:
        """A firewall that ends each connection with a reset."""
        reset = ("-p", "tcp", "-j", "REJECT", "--reject-with", "tcp-reset")
        self._rule(self.rbee_side, "INPUT", *reset)

    def lose_answers(self) -> None:
        """One way only: what the client sends arrives, and nothing comes back."""
        self._rule(self.client_side, "INPUT", "-j", "DROP")

    def lose_share(self, percent: int) -> None:
        """So many of a hundred packets vanish, either way."""
        chance = ("-m", "statistic", "--mode", "random", "--probability", f"{percent / 100:.2f}")
        self._rule(self.rbee_side, "INPUT", *chance, "-j", "DROP")
        self._rule(self.client_side, "INPUT", *chance, "-j", "DROP")

    def flap(self, seconds: float) -> None:
        """The link is down for so long, and comes back by itself."""
        _run(["ip", "-n", self.client_side, "link", "set", self.link, "down"])
        _run(["sleep", str(seconds)])
        _run(["ip", "-n", self.client_side, "link", "set", self.link, "up"])

    def mend(self) -> None:
        """All rules go."""
        for side in (self.rbee_side, self.client_side):
            _run([*self.there(side), "iptables", "-F"])

    def _rule(self, side: str, chain: str, *what: str) -> None:
        # The loopback inside a side is no part of the cable.
        way = "-i" if chain == "INPUT" else "-o"
        _run([*self.there(side), "iptables", "-A", chain, "!", way, "lo", *what])


@contextmanager
def network() -> Iterator[Network]:
    """Raises Missing with what is not here."""
    for program in ("ip", "iptables"):
        if shutil.which(program) is None:
            raise Missing(f"program: {program}")
    if os.geteuid() != 0:
        raise Missing("privilege: network namespaces need root")
    _remove_those_of_the_dead()
    found = Network(f"{os.getpid():x}")
    try:
        try:
            _build(found)
        except subprocess.CalledProcessError as error:
            told = (error.stderr or b"").decode(errors="replace").strip()
            raise Missing(f"kernel: network namespaces with iptables ({told})") from error
        yield found
    finally:
        _remove(found.rbee_side, found.client_side)


def _remove(*sides: str) -> None:
    for side in sides:
        subprocess.run(["ip", "netns", "del", side], check=False, capture_output=True)


def _remove_those_of_the_dead() -> None:
    """A run that was killed could not clean up: its pid stands in the names."""
    listed = subprocess.run(["ip", "netns", "list"], check=False, capture_output=True, text=True)
    for name in (line.split()[0] for line in listed.stdout.splitlines() if line):
        found = re.fullmatch(r"rbee-([0-9a-f]+)-[ab]", name)
        if found and not Path(f"/proc/{int(found.group(1), 16)}").exists():
            _remove(name)


def _build(found: Network) -> None:
    ends = (
        (found.rbee_side, found.link.removesuffix("b") + "a", RBEE_ADDRESS),
        (found.client_side, found.link, CLIENT_ADDRESS),
    )
    for side, _, _ in ends:
        _run(["ip", "netns", "add", side])
        _run(["ip", "-n", side, "link", "set", "lo", "up"])
    (side_a, end_a, _), (side_b, end_b, _) = ends
    link = ["ip", "-n", side_a, "link", "add", end_a, "type", "veth"]
    _run([*link, "peer", "name", end_b, "netns", side_b])
    for side, end, address in ends:
        _run(["ip", "-n", side, "address", "add", f"{address}/30", "dev", end])
        _run(["ip", "-n", side, "link", "set", end, "up"])
        _run(["ip", "netns", "exec", side, "iptables", "-L", "-n"])


def _run(argv: list[str]) -> None:
    subprocess.run(argv, check=True, capture_output=True, timeout=_LIMIT_S)
