"""The real model for the tests of this room."""

from tests.plugin_model import llama_server, model_file

__all__ = ["llama_server", "model_file"]
