"""The real model for the tests of this room."""

from tests.plugin_model import model_file

__all__ = ["model_file"]
