"""Parity: the server against HuggingFace transformers, live and by golden files."""
