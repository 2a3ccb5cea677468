"""The catalogue: every code that rbee can report, a file per family."""

from collections.abc import Mapping
from types import MappingProxyType

from rbee.errors.catalogue import access, attached, install, model, request, worker
from rbee.errors.error import Row

FAMILIES: Mapping[str, tuple[Row, ...]] = MappingProxyType(
    {
        "request": request.ROWS,
        "access": access.ROWS,
        "model": model.ROWS,
        "worker": worker.ROWS,
        "attached": attached.ROWS,
        "install": install.ROWS,
    }
)

CATALOGUE: Mapping[str, Row] = MappingProxyType(
    {row.code: row for rows in FAMILIES.values() for row in rows}
)
