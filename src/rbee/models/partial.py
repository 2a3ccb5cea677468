"""A file that is still being fetched: its bytes, which of them are there, and who is at it.

    partials/KEY/data        the bytes, each at its place (the file is sparse)
    partials/KEY/state.json  how far each part has come, and the crc32 of what was hashed already
    partials/KEY/lock        held (flock) by the one process that fetches it; it dies with it

What may be trusted after a crash: a byte that `pwrite` took is in the kernel's memory and outlives
this process, so within one run of the machine the counts of `state.json` hold; they are written
after the bytes. A machine that went down may have lost any byte that was not yet on the disk: then
only chunks whose crc32 was noted are kept, and only if they still have it. Nothing here proves that
a file is right: that is said by the sha256 of the whole, in the end.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from rbee.edge.private_file import write_private
from rbee.edge.process_table import boot_id
from rbee.models.hashing import CHUNK_BYTES
from rbee.models.locks import alone
from rbee.models.sources import Remote
from rbee.wire.ranges import Span, plan
from rbee.wire.unreadable import UNREADABLE

_SCHEMA = 1
_SAVE_EVERY_BYTES = 4 << 20
"""What a SIGKILL costs at most is this much and what is on its way: far less than a part."""
_NO_END = 1 << 62


class _State(msgspec.Struct):
    schema: int
    boot: str
    size_bytes: int
    digest: str
    validator: str
    written: list[int]
    """Of each part: how many bytes from its beginning on are there."""
    chunks: list[int]
    """crc32 of each 16 MiB from the beginning on, as far as it was hashed."""


def key_of(remote: Remote) -> str:
    """The name of a partial: the same bytes have the same one, whatever source they come from."""
    if remote.digest:
        return remote.digest.replace(":", "-")
    return "url-" + hashlib.sha256(remote.url.encode()).hexdigest()


@contextmanager
def held(root: Path, key: str, waiting: Callable[[], None]) -> Iterator[Partial]:
    """The partial of that key, ours alone; `waiting` is called ten times a second while another
    process has it. Raises OSError."""
    folder = root / key
    with alone(folder / "lock", waiting):
        partial = Partial(folder)
        try:
            yield partial
        finally:
            partial.close()


class Partial:
    """The bytes of one file so far. Threads may write and read at once.

    `spans` are its parts; of a file whose size is not known there is one without an end.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.size_bytes = 0
        self.spans: tuple[Span, ...] = ()
        self.chunks: tuple[int, ...] = ()
        self.grown = threading.Condition()
        """Told at every change."""
        self.turn = 0
        """Counts how often it was begun anew: bytes that were read before are void then."""
        self._written: list[int] = []
        self._file = -1
        self._saving = threading.Lock()
        self._unsaved_bytes = 0
        self._identity = ("", "")

    def open(self, size_bytes: int, digest: str, validator: str) -> None:
        """Take up what is there of that file, or begin anew. Raises OSError."""
        if self._file < 0:
            self._file = os.open(self.data, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._identity = (digest, validator)
        self._lay_out(size_bytes)
        state = self._read_state()
        if state is None or not self._fits(state):
            self.anew(size_bytes, validator)
            return
        if state.boot == boot_id():
            self._written = list(state.written)
        else:
            safe = len(state.chunks) * CHUNK_BYTES
            self._written = [min(max(safe - one.begin, 0), one.size_bytes) for one in self.spans]
        self.chunks = tuple(state.chunks)
        self.save()

    def anew(self, size_bytes: int, validator: str) -> None:
        """Nothing that was there counts any more. Raises OSError."""
        with self.grown:
            self._identity = (self._identity[0], validator)
            self._lay_out(size_bytes)
            self.chunks = ()
            self.turn += 1
            os.ftruncate(self._file, 0)
            os.ftruncate(self._file, size_bytes)
            self.grown.notify_all()
        self.save()

    def distrust(self, chunk: int) -> None:
        """That chunk, and what follows it in its part, is not what it was."""
        begin = chunk * CHUNK_BYTES
        with self.grown:
            for number, span in enumerate(self.spans):
                if span.begin <= begin < span.end:
                    kept = min(self._written[number], begin - span.begin)
                    self._written[number] = kept
            self.chunks = self.chunks[:chunk]

    def end_at(self, size_bytes: int) -> None:
        """The size of a file is learnt when its last byte has come. Raises OSError."""
        with self.grown:
            self.size_bytes = size_bytes
            self.spans = (Span(0, size_bytes),)
            os.ftruncate(self._file, size_bytes)
            self.grown.notify_all()

    def next_byte(self, part: int) -> int:
        """Where a part goes on."""
        return self.spans[part].begin + self._written[part]

    def write(self, part: int, data: memoryview) -> None:
        """The next bytes of a part, all of them. Raises OSError; what was taken then counts."""
        while data:
            taken = os.pwrite(self._file, data, self.next_byte(part))
            data = data[taken:]
            with self.grown:
                self._written[part] += taken
                self._unsaved_bytes += taken
                self.grown.notify_all()
        if self._unsaved_bytes >= _SAVE_EVERY_BYTES and self._saving.acquire(blocking=False):
            try:
                self._save()
            finally:
                self._saving.release()

    def read(self, into: memoryview, begin: int) -> int:
        """Bytes that are there already. Raises OSError."""
        return os.preadv(self._file, [into], begin)

    @property
    def written_bytes(self) -> int:
        return sum(self._written)

    @property
    def whole(self) -> bool:
        """Whether every byte is there; never of a file whose size is not known yet."""
        return self.written_bytes == sum(span.size_bytes for span in self.spans)

    def contiguous_bytes(self) -> int:
        """How many are there from the beginning on without a gap."""
        for span, written in zip(self.spans, self._written, strict=True):
            if written < span.size_bytes:
                return span.begin + written
        return self.size_bytes

    def covered(self, begin: int, end: int) -> bool:
        """Whether all of these bytes are there."""
        return all(
            self._written[number] >= min(end, span.end) - span.begin
            for number, span in enumerate(self.spans)
            if span.begin < end and begin < span.end
        )

    def save(self, *, durable: bool = False) -> None:
        """Write down how far it is; `durable`: so that it outlives the machine's fall. A disk that
        is full keeps the count of before, which holds as well."""
        if durable:
            os.fdatasync(self._file)
        with self._saving:
            self._save(durable=durable)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def remove(self) -> None:
        """Nothing is kept."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _lay_out(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.spans = plan(size_bytes) if size_bytes else (Span(0, _NO_END),)
        self._written = [0] * len(self.spans)

    def _fits(self, state: _State) -> bool:
        """Whether the state is one of this file; of an unknown digest only if a validator says so,
        and of an unknown size never."""
        digest, validator = self._identity
        same = state.digest == digest if digest else bool(validator)
        return (
            same
            and (bool(digest) or state.validator == validator)
            and 0 < self.size_bytes == state.size_bytes == os.fstat(self._file).st_size
            and _within(state.written, self.spans)
            and len(state.chunks) <= -(-self.size_bytes // CHUNK_BYTES)
        )

    def _read_state(self) -> _State | None:
        try:
            state = msgspec.json.decode((self.folder / "state.json").read_bytes(), type=_State)
        except (OSError, *UNREADABLE):
            return None
        return state if state.schema == _SCHEMA else None

    def _save(self, *, durable: bool = False) -> None:
        with self.grown:
            state = _State(
                schema=_SCHEMA,
                boot=boot_id(),
                size_bytes=self.size_bytes,
                digest=self._identity[0],
                validator=self._identity[1],
                written=list(self._written),
                chunks=list(self.chunks),
            )
            self._unsaved_bytes = 0
        path = self.folder / "state.json"
        with suppress(OSError):
            if durable:
                write_private(path, msgspec.json.encode(state))
            else:
                beside = self.folder / ".state"
                beside.write_bytes(msgspec.json.encode(state))
                beside.replace(path)


def _within(written: Sequence[int], spans: Sequence[Span]) -> bool:
    return len(written) == len(spans) and all(
        0 <= count <= span.size_bytes for count, span in zip(written, spans, strict=True)
    )
