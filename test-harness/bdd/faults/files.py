"""Files damaged as disks and downloads damage them."""

from __future__ import annotations

from pathlib import Path

from tests.damaged_gguf import DAMAGES


def truncated(model: Path, target: Path) -> Path:
    """The first half of a model file."""
    data = model.read_bytes()
    target.write_bytes(data[: len(data) // 2])
    return target


def bad_magic(model: Path, target: Path) -> Path:
    """A web page where a model should be, as captive portals deliver it."""
    target.write_bytes(b"<html><body>Sign in to continue</body></html>" * 100)
    return target


def unknown_architecture(model: Path, target: Path) -> Path:
    """A whole file of a kind that no engine knows."""
    data = model.read_bytes()
    target.write_bytes(data.replace(b"llama", b"xlama"))
    return target


def garbage(model: Path, target: Path) -> Path:
    """1000 flipped bits in the weights: it loads, and says one word for ever."""
    target.write_bytes(DAMAGES["bits_1000"](model.read_bytes()))
    return target


def not_a_number(model: Path, target: Path) -> Path:
    """The last norm a thousand million million million million times too large: it overflows, and
    no check of single values sees it."""
    data = model.read_bytes()
    target.write_bytes(DAMAGES["norm_1e30"](data))
    return target


def flipped(path: Path) -> None:
    """One bit in the middle, in place."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))


def large(target: Path, size_bytes: int) -> Path:
    """A GGUF of that size, most of it a hole: a valid header and one tensor of zeros."""
    import struct

    def text(value: bytes) -> bytes:
        return struct.pack("<Q", len(value)) + value

    elements = (size_bytes - 4096) // 4
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, 1)
    head += text(b"general.architecture") + struct.pack("<I", 8) + text(b"llama")
    head += text(b"w") + struct.pack("<IQIQ", 1, elements, 0, 0)
    with target.open("wb") as file:
        file.write(head)
        file.truncate(size_bytes)
    return target


def stamped(path: Path, number: int) -> Path:
    """Other bytes in each MiB, those of that number: a part that lands in a wrong place shows."""
    with path.open("r+b") as file:
        for at in range(1 << 19, path.stat().st_size, 1 << 20):
            file.seek(at)
            file.write(at.to_bytes(8, "little") + number.to_bytes(8, "little"))
    return path


def marked(path: Path, number: int) -> None:
    """Another model: one byte among the last weights is that number."""
    with path.open("r+b") as file:
        file.seek(-100, 2)
        file.write(bytes([number]))
