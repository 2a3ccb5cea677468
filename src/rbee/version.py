"""The version of rbee and of the protocol its processes speak to one another."""

VERSION = "0.1.0"

CONTROL_PROTOCOL = 1
"""Raised when `wire.control` changes in a way that an older peer would misread."""
