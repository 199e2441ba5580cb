"""Writes what the documentation takes from elsewhere: `python client/docs/generate.py`.

`reference/` comes from the comments in proto/ and from the docstrings of the Python client; the
code blocks of `migration.md` from the files of `migration/`. Needs grpcio-tools, and the client as
`pip install -e client/python` leaves it. The tests check that everything is as this writes it.
"""

from __future__ import annotations

import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(ROOT / "client" / "python" / "src")]

from generator import contract, embedded, package  # noqa: E402


def pages() -> dict[pathlib.Path, str]:
    """Every page that is generated, in whole or in part, as it should be."""
    made = {f"reference/{name}": text for name, text in contract.pages(ROOT / "proto").items()}
    made |= {f"reference/{name}": text for name, text in package.pages().items()}
    text = (HERE / "migration.md").read_text("utf-8")
    made["migration.md"] = embedded.fill(text, HERE / "migration")
    return {HERE / name: text for name, text in made.items()}


def main() -> None:
    for path, text in pages().items():
        path.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
