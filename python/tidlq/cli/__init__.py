"""The `tidlq` command: parses, calls, prints."""

from tidlq.cli.app import app, main

__all__ = ["app", "main"]
