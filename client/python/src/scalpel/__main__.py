"""The command `scalpel`, also `python -m scalpel`. A subcommand is a module of
`scalpel.commands`: see the README there."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import scalpel

# Name, what it does, and the module that does it.
COMMANDS = (
    ("info", "the served model, its sites and limits", "scalpel.commands.info"),
    ("report", "run a request from a file; a page about the answer", "scalpel.commands.report"),
    ("study", "six experiments, run and written down", "scalpel.commands.study"),
)


def add_connection_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the server is, and who talks to it: as `scalpel-cli` has it, for all that do."""
    address = os.environ.get("SCALPEL_SERVER_ADDRESS") or "127.0.0.1:50051"
    group = parser.add_argument_group("the server")
    add = group.add_argument
    add("--server", default=address, help="address (default $SCALPEL_SERVER_ADDRESS; %(default)s)")
    add("--timeout", type=float, default=600.0, help="seconds (%(default)g)")
    add("--tls", action="store_true", help="encrypt, and check the server's certificate")
    add("--ca", metavar="FILE", help="whom to trust, in PEM (default: as the system does)")
    add("--cert", metavar="FILE", help="a certificate of your own, for mutual TLS; with --key")
    add("--key", metavar="FILE", help="its private key")
    add("--server-name", metavar="NAME", help="what the server's certificate names")
    add("--token-file", metavar="FILE", help="holds a bearer token (default $SCALPEL_TOKEN)")
    add("--token", action=_NoToken, help=argparse.SUPPRESS)
    add("--allow-plaintext-token", action="store_true",
        help="send it to another machine without TLS")  # fmt: skip


class _NoToken(argparse.Action):
    """Says why there is no such flag, without repeating its value."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        parser.error(
            "--token: other users of this machine see command lines, and shells keep them; write "
            "the token to a file for --token-file, or set SCALPEL_TOKEN"
        )


def connect(arguments: argparse.Namespace) -> scalpel.Model:
    """The server that the arguments name. Ends the program where they cannot be used."""
    try:
        return scalpel.connect(
            arguments.server,
            tls=_tls(arguments),
            token=_token(arguments),
            allow_plaintext_token=arguments.allow_plaintext_token,
            timeout=arguments.timeout,
        )
    except scalpel.ScalpelError:
        raise
    except (OSError, ValueError) as error:
        print(f"scalpel: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def _tls(arguments: argparse.Namespace) -> bool | scalpel.TLS:
    """Files and names mean TLS, too."""
    tls = scalpel.TLS(arguments.ca, arguments.cert, arguments.key, arguments.server_name)
    return bool(arguments.tls) if tls == scalpel.TLS() else tls


def _token(arguments: argparse.Namespace) -> str | None:
    if arguments.token_file:
        with open(arguments.token_file, encoding="utf-8") as file:
            return file.read().strip()
    token = os.environ.get("SCALPEL_TOKEN")
    return token.strip() if token else None


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
