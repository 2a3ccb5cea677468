"""The third parties of a job, told what to do: a disk, a client, an owner of all jobs."""

from __future__ import annotations


class Disk:
    """Takes a batch, and keeps it when it is told to."""

    def __init__(self):
        self.growing = {}
        self.ends = []
        self.taken = None
        self.text = b""
        """What it holds: nothing beyond it may have been sent."""
        self._taken_text = b""

    def create(self, record, told):
        told(None)
        return 1

    def grow(self, writer):
        self.growing[writer] = None

    def end(self, number, outcome, told):
        self.ends.append(told)

    def take(self):
        if self.taken is None:
            self.taken = (list(self.growing), self.ends)
            self.growing, self.ends = {}, []
            for writer in self.taken[0]:
                self._taken_text += writer.take()

    def commit(self):
        if self.taken is not None:
            (writers, ends), self.taken = self.taken, None
            self.text, self._taken_text = self.text + self._taken_text, b""
            for writer in writers:
                writer.kept(None)
            for told in ends:
                told(None)


class Client:
    """A connection whose reader takes nothing, or everything."""

    keeps_open = True
    waiting_to_write_bytes = 0

    def __init__(self):
        self.writable = True
        self.got = b""

    def send(self, data):
        self.got += data

    def send_soon(self):
        return

    def ended(self, exchange):
        return

    def hang_up(self):
        return

    @property
    def numbers(self):
        lines = self.got.replace(b"\r\n", b"\n").split(b"\n")
        return [int(line[4:].partition(b"-")[0]) for line in lines if line.startswith(b"id: ")]


class Nobody:
    """The owner of all jobs."""

    def alone(self, job):
        return

    def sealed(self, job):
        return

    def gone(self, job):
        return
