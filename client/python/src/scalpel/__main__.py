"""The command `scalpel`, also `python -m scalpel`. A subcommand is a module of
`scalpel.commands`: see the README there."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

import scalpel

# Name, what it does, and the module that does it.
COMMANDS = (
    ("info", "the served model, its sites and limits", "scalpel.commands.info"),
    ("report", "run a request from a file; a page about the answer", "scalpel.commands.report"),
    ("study", "six experiments, run and written down", "scalpel.commands.study"),
)


def add_connection_arguments(parser: argparse.ArgumentParser) -> None:
    """`--server`, `--tls`, `--token-file` and `--timeout`: the same for all that talk to a
    server."""
    parser.add_argument("--server", default="127.0.0.1:50051", help="address (%(default)s)")
    parser.add_argument("--tls", action="store_true", help="encrypt")
    parser.add_argument("--token-file", help="file with a bearer token")
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds (%(default)g)")


def connect(arguments: argparse.Namespace) -> scalpel.Model:
    """The server that the arguments name."""
    token = None
    if arguments.token_file:
        with open(arguments.token_file, encoding="utf-8") as file:
            token = file.read().strip()
    return scalpel.connect(
        arguments.server, tls=arguments.tls, token=token, timeout=arguments.timeout
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a subcommand; returns the exit status: 0 done, 1 failed, 2 usage."""
    parser = argparse.ArgumentParser(prog="scalpel", description="Scalpel's Python client.")
    parser.add_argument("--version", action="version", version=scalpel.__version__)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    # Only the command that is asked for is imported: some need packages that are extras.
    asked = next((word for word in (sys.argv[1:] if argv is None else argv)), None)
    for name, text, module in COMMANDS:
        command = commands.add_parser(name, help=text, description=text)
        if name == asked:
            loaded = importlib.import_module(module)
            loaded.add_arguments(command)
            command.set_defaults(run=loaded.run)
    arguments = parser.parse_args(argv)
    try:
        status: int = arguments.run(arguments)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # Whoever read it, such as `head`, has enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except scalpel.ScalpelError as error:
        print(f"scalpel: {error.code}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
