"""Bearer tokens, and the file from which a server takes who they belong to."""

import hashlib
import json
import os
import pathlib
import secrets


class TokenFile:
    """The file for --tokens. What is added or removed is in the file at once."""

    def __init__(self, path: pathlib.Path):
        self.path = path
        self._entries: dict[str, dict] = {}
        self._write()

    def add(self, name: str, role: str, **options: object) -> str:
        """A new token under this name; `options` are the entry's optional keys."""
        token = "scalpel_" + secrets.token_urlsafe(32)
        digest = hashlib.sha256(token.encode()).hexdigest()
        self.add_entry({"name": name, "sha256": digest, "role": role, **options})
        return token

    def entry(self, name: str) -> dict:
        return self._entries[name]

    def add_entry(self, entry: dict) -> None:
        self._entries[entry["name"]] = entry
        self._write()

    def remove(self, name: str) -> None:
        del self._entries[name]
        self._write()

    def write_text(self, text: str) -> None:
        """Puts anything in the place of the file, in one step: a reader never sees half of it."""
        beside = self.path.with_suffix(".new")
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
        beside.replace(self.path)

    def _write(self) -> None:
        self.write_text(json.dumps({"tokens": list(self._entries.values())}))
