"""What a JSON decoder raises for bytes that are no JSON of the expected shape.

`msgspec` says DecodeError, but UnicodeDecodeError for a text that is no UTF-8, and RecursionError
for one that is nested without end. Whoever reads bytes that may be damaged catches all three.
"""

from __future__ import annotations

from typing import Final

import msgspec

UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
