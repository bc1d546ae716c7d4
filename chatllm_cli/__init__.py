"""Chat with language models in the terminal, and keep every word."""

__version__ = "0.1.0"
