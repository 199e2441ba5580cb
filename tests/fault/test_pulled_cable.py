"""The network goes away without a word: see pulled_cable.py, which `cable` has started."""

import subprocess

import pytest


def test_calls_end_when_the_cable_is_pulled(cable: subprocess.Popen[str]) -> None:
    """pulled cable: no packet comes through any more

    Needs root, for a network of its own. Elsewhere the nearest are the readers that do not read, of
    test_frames.py.
    """
    said, _ = cable.communicate(timeout=150)
    if said.startswith("unshare:"):
        pytest.skip(said.strip())
    assert cable.returncode == 0, said
