"""Errors are the product: one exception, one catalogue."""

from rbee.errors.error import CatalogueError, RbeeError, Report, Retry, Row, human_bytes

__all__ = ["CatalogueError", "RbeeError", "Report", "Retry", "Row", "human_bytes"]
