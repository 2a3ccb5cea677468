"""rbee runs large language models on the machines that people own, and does not fall over."""

from rbee.version import VERSION as __version__

__all__ = ["__version__"]
