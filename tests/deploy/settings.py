"""What a deployment says to the server, against what the server takes."""

import functools
import re
import subprocess

from tests.support import environment


@functools.cache
def known_flags() -> frozenset[str]:
    help_text = subprocess.run(
        [str(environment.server_binary()), "--help"],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout
    return frozenset(re.findall(r"^  --([a-z-]+)", help_text, re.MULTILINE))


def read_settings(variables: dict[str, str]) -> dict[str, str]:
    """The server's settings by the names of their flags; each variable must be one that it has."""
    settings = {
        name.removeprefix("SCALPEL_").lower().replace("_", "-"): value
        for name, value in variables.items()
        if name.startswith("SCALPEL_")
    }
    assert set(settings) <= known_flags(), set(settings) - known_flags()
    return settings


def check_end(settings: dict[str, str], grace_seconds: int) -> None:
    """Who stops the server waits for longer than it may take."""
    drain = int(settings["drain-seconds"]) + int(settings.get("lame-duck-seconds", 0))
    assert grace_seconds >= drain + 10
