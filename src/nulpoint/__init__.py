"""nulpoint: one URL in front of every LLM provider."""

__version__ = "0.2.0"
