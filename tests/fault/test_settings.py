"""Settings that keep the server from starting: files of anything, and addresses that others reach.

The rules and their texts are in the unit tests (tests/unit/config). Here one line names the file
or the variable, and the setting, and the program ends.
"""

import socket
import subprocess

import pytest

from tests.support.server import run_server

USAGE_ERROR = 2


def assert_usage_error(done: subprocess.CompletedProcess[str], *names: str) -> None:
    """Exit 2, and one line with these names."""
    assert done.returncode == USAGE_ERROR, done.stderr
    (line,) = done.stderr.strip().splitlines()
    for name in names:
        assert name in line, line
    assert len(line) < 1000 and not done.stdout


@pytest.mark.parametrize(
    "text, setting",
    [
        (r'{"listen": "a\nb:1"}', "listen"),
        (r'{"max-\nqueue": 0}', r"max-\nqueue"),
        ('{"max-queue": [4]}', "max-queue"),
        ('{"max-queue": ' + "[" * 100_000, ""),
        ('{"%s": 1}' % ("x" * 100_000), "xxx"),
        ('{"listen": "%s"}' % ("x" * 100_000), "listen"),
        ("[]", ""),
        ("", ""),
        ("\0\0\0", ""),
        (" " * (2 << 20), ""),
        ('{"max-queue": 4, "max-queue": 5}', "max-queue"),
    ],
    ids=range(11),
)
def test_bad_settings_file(model_dir, tmp_path, text, setting):
    """port taken; bad flag; unreadable cert: one line names the file, whatever is in it"""
    file = tmp_path / "settings.json"
    file.write_text(text)
    done = run_server("--model", str(model_dir), "--config", str(file))
    assert_usage_error(done, f"{file}: ", setting)


@pytest.mark.parametrize("path", ["/dev/zero", "/", "/proc/self/mem"])
def test_what_is_no_settings_file(model_dir, path):
    """port taken; bad flag; unreadable cert: no more is read than a file of settings may have"""
    done = run_server("--model", str(model_dir), "--config", path)
    assert_usage_error(done, f"{path}: ")


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]"])
def test_others_may_not_reach_it_by_accident(model_dir, host):
    """Without TLS and without knowing who calls, it listens on this machine alone."""
    start = ["--model", str(model_dir)]
    done = run_server(*start, env={"SCALPEL_LISTEN": f"{host}:0"})
    assert_usage_error(done, "SCALPEL_LISTEN")


def test_others_may_reach_it_on_purpose(model_dir):
    """The control of the above: then only the port is wrong."""
    with socket.socket() as other:
        other.bind(("0.0.0.0", 0))
        other.listen()
        listen = f"0.0.0.0:{other.getsockname()[1]}"
        done = run_server("--model", str(model_dir), "--listen", listen, "--allow-insecure")
    assert_usage_error(done, "--listen", "in use")
