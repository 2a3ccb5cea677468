"""Which files of a repository make the model that a person means. Pure.

A repository holds one model in several quantisations, each a file or several (`-00001-of-00003`),
and beside them what is no model: projectors for images, matrices of a quantiser's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rbee.models.names import PART, Hf, nearest

PREFERRED = ("Q4_K_M", "Q4_0", "Q4_1", "Q8_0")
"""Taken in this order where a person names none: small, and answers still good."""
_LISTED = 12
_LABEL = re.compile(
    r"(?<![A-Z0-9])((?:UD-)?(?:I?Q[1-9](?:_[A-Z0-9]+)*|TQ[1-9](?:_[0-9])?|MXFP4(?:_MOE)?|B?F16|FP16"
    r"|F32))(?![A-Z0-9_])"
)
_NO_MODEL = ("mmproj", "imatrix")


@dataclass(frozen=True, slots=True)
class Model:
    """One model of a repository."""

    name: str
    """The path of its first file."""
    files: tuple[str, ...]
    """In order."""
    lacks: bool = False
    """Whether some of its parts are not there."""

    @property
    def label(self) -> str:
        """Its quantisation as its name has it, in capitals; empty: it does not tell."""
        found = _LABEL.findall(self.name.upper().removesuffix(".GGUF"))
        return str(found[-1]) if found else ""


@dataclass(frozen=True, slots=True)
class Unclear:
    """No model is meant, or more than one."""

    problem: str


def models_of(paths: Sequence[str]) -> tuple[Model, ...]:
    """The models that these files of a repository make."""
    found: dict[str, dict[int, str]] = {}
    totals: dict[str, int] = {}
    for path in sorted(paths):
        last = path.rsplit("/", 1)[-1].lower()
        if not last.endswith(".gguf") or any(word in last for word in _NO_MODEL):
            continue
        part = PART.fullmatch(path)
        key = f"{part[1]}-of-{part[3]}" if part else path
        found.setdefault(key, {})[int(part[2]) if part else 1] = path
        totals[key] = int(part[3]) if part else 1
    return tuple(
        Model(
            next(iter(parts.values())),
            tuple(parts[number] for number in sorted(parts)),
            lacks=sorted(parts) != list(range(1, totals[key] + 1)),
        )
        for key, parts in found.items()
    )


def choose(models: Sequence[Model], name: Hf) -> Model | Unclear:
    """The one that is meant."""
    if not models:
        return Unclear("it holds no GGUF file")
    if name.file:
        meant = [model for model in models if name.file in model.files]
        none = _listed("it has no such file; nearest", nearest(name.file, _paths(models)), models)
    elif name.quant:
        meant = _of_quant(models, name.quant)
        labels = [model.label for model in models if model.label]
        none = _listed(f"it has no {name.quant}; nearest", nearest(name.quant, labels), models)
    else:
        meant, none = _preferred(models), ""
    if len(meant) > 1:
        return Unclear(_listed("several are meant, name one of", _choices(meant), meant))
    if not meant:
        return Unclear(none)
    if meant[0].lacks:
        return Unclear(f"of {meant[0].name} some parts are not there")
    return meant[0]


def _of_quant(models: Sequence[Model], quant: str) -> list[Model]:
    """Those that are called so; else those whose names hold the word."""
    word = re.compile(rf"(?<![A-Z0-9]){re.escape(quant)}(?![A-Z0-9_])")
    labelled = [model for model in models if model.label == quant]
    return labelled or [model for model in models if word.search(model.name.upper())]


def _preferred(models: Sequence[Model]) -> list[Model]:
    for label in PREFERRED:
        if found := [model for model in models if model.label == label]:
            return found
    return list(models)


def _paths(models: Sequence[Model]) -> list[str]:
    return [path for model in models for path in model.files]


def _choices(models: Sequence[Model]) -> list[str]:
    """What can stand behind the colon: the quantisation, where it says which one is meant."""
    labels = [model.label for model in models]
    return [
        model.label if model.label and labels.count(model.label) == 1 else model.name
        for model in models
    ]


def _listed(what: str, found: Sequence[str], models: Sequence[Model]) -> str:
    """`found`, or all there are if it is empty; not more than a screen holds."""
    shown = list(dict.fromkeys(found or _choices(models)))
    more = f" and {len(shown) - _LISTED} more" if len(shown) > _LISTED else ""
    return f"{what}: {', '.join(shown[:_LISTED])}{more}"
