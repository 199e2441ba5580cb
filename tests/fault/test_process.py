"""The process and its surroundings: outputs that cannot be written, signals, flags, ports."""

import os
import signal
import socket
import subprocess
import time

import pytest

from tests.fault.alive import GOLDEN
from tests.support import environment
from tests.support.client import Client, make_request
from tests.support.server import is_serving, run_server

USAGE_ERROR = 2
START_SECONDS = 60


@pytest.fixture
def spawn(model_dir, free_port):
    """Starts the server on a known port, since its outputs are the test's and may not be read."""
    started = []

    def start(**outputs):
        line = [
            str(environment.server_binary()),
            "--model",
            str(model_dir),
            "--listen",
            f"127.0.0.1:{free_port}",
            "--log-level",
            "debug",
        ]
        process = subprocess.Popen(
            line, stdin=subprocess.DEVNULL, env=environment.of_servers(), **outputs
        )
        started.append(process)
        deadline = time.monotonic() + START_SECONDS
        while not is_serving(f"127.0.0.1:{free_port}"):
            assert process.poll() is None, f"the server ended with {process.returncode}"
            assert time.monotonic() < deadline, "the server does not serve"
            time.sleep(0.1)
        return process, f"127.0.0.1:{free_port}"

    yield start
    for process in started:
        process.kill()
        process.wait()


def assert_works_until_told_to_end(process, address):
    """It answers, twice the same, then drains and exits with 0."""
    with Client(address) as client:
        assert client.run(GOLDEN).content() == client.run(GOLDEN).content()
    assert process.poll() is None and is_serving(address)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


def test_disk_full_for_logs(spawn):
    """disk full for logs; stdout closed; SIGPIPE

    Every write of a log line fails.
    """
    with open("/dev/full", "wb") as full:
        process, address = spawn(stdout=full, stderr=full)
        assert_works_until_told_to_end(process, address)


def test_reader_of_the_logs_has_gone(spawn):
    """disk full for logs; stdout closed; SIGPIPE

    Both outputs are pipes that nobody reads any more.
    """
    read_end, write_end = os.pipe()
    os.close(read_end)
    process, address = spawn(stdout=write_end, stderr=write_end)
    os.close(write_end)
    assert_works_until_told_to_end(process, address)


def test_outputs_are_closed(spawn):
    """disk full for logs; stdout closed; SIGPIPE: there are no outputs at all

    The descriptors 1 and 2 are free then; a socket that got one of them would receive the log.
    """

    def close_outputs():
        os.close(1)
        os.close(2)

    process, address = spawn(preexec_fn=close_outputs)
    with Client(address) as client:
        client.run(GOLDEN)
    for number in (1, 2):
        target = f"/proc/{process.pid}/fd/{number}"
        assert not os.path.exists(target) or not os.readlink(target).startswith("socket:")
    assert_works_until_told_to_end(process, address)


def test_sigpipe(start_server):
    """disk full for logs; stdout closed; SIGPIPE

    The signal itself.
    """
    server = start_server()
    for _ in range(3):
        server.process.send_signal(signal.SIGPIPE)
    time.sleep(0.2)
    assert server.process.poll() is None and is_serving(server.address)
    assert server.stop() == 0


def test_client_that_hangs_up_while_it_is_answered(faulty, server):
    """disk full for logs; stdout closed; SIGPIPE

    Sockets that are closed in the middle of a write.
    """
    for size in (0, 1, 9, 24, 60):
        with socket.create_connection(("127.0.0.1", server.port)) as link:
            link.sendall((b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0" * 4)[:size])
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    call = faulty.stub.Run(_large(), timeout=30)
    assert next(call).HasField("started")
    call.cancel()


def _large():
    return make_request(
        {
            "prompts": [{"token_ids": {"ids": [3] * 256}}] * 8,
            "captures": [{"place": {"path": "hook_pattern"}}],
        }
    )


def assert_usage_error(done, *words):
    """Exit 2, and one line that names the flag."""
    assert done.returncode == USAGE_ERROR, done.stderr
    (line,) = done.stderr.strip().splitlines()
    for word in words:
        assert word in line, line
    assert "listening" not in done.stdout


def test_port_is_taken(model_dir):
    """port taken; bad flag; unreadable cert (no certificates yet)"""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = run_server("--model", str(model_dir), "--listen", f"127.0.0.1:{port}")
    assert_usage_error(done, "--listen", str(port))


def test_port_of_another_server_is_taken(model_dir, server):
    """port taken; bad flag; unreadable cert

    Two servers never share a port.
    """
    done = run_server("--model", str(model_dir), "--listen", server.address)
    assert_usage_error(done, "--listen", str(server.port))


@pytest.mark.parametrize(
    "flag", ["--no-such-flag", "--lisen", "-x", "--max-queue-size", "--no-such=1"]
)
def test_unknown_flag(flag):
    """port taken; bad flag; unreadable cert

    A flag that does not exist.
    """
    assert_usage_error(run_server(flag), flag.split("=")[0])


def test_argument_that_is_no_flag():
    """port taken; bad flag; unreadable cert

    A word too many.
    """
    assert_usage_error(run_server("serve-me"), "serve-me")


@pytest.mark.parametrize(
    "flag, value",
    [
        ("--listen", "nonsense"),
        ("--listen", "127.0.0.1"),
        ("--listen", "127.0.0.1:65536"),
        ("--listen", "127.0.0.1:-1"),
        ("--listen", "127.0.0.1:http"),
        ("--listen", ""),
        ("--device", "tpu"),
        ("--device", ""),
        ("--log-level", "loud"),
        ("--threads", "-1"),
        ("--threads", "many"),
        ("--threads", "1e3"),
        ("--threads", "99999999999999999999"),
        ("--max-response-bytes", "0"),
        ("--max-response-bytes", "1G5"),
        ("--max-queue", "-1"),
        ("--max-queue", "2147483648"),
        ("--max-request-bytes", "0"),
        ("--max-request-bytes", "9223372036854775808"),
        ("--max-tokens", "0"),
        ("--max-tokens", "5 tokens"),
        ("--max-buffered-bytes", "-5"),
        ("--max-buffered-bytes", "0x10"),
    ],
)
def test_bad_value(model_dir, flag, value):
    """port taken; bad flag; unreadable cert

    A value that the flag cannot have.
    """
    assert_usage_error(run_server("--model", str(model_dir), flag, value), flag)


def test_bad_value_in_one_word(model_dir):
    """port taken; bad flag; unreadable cert

    The same for --flag=value.
    """
    said = run_server("--model", str(model_dir), "--max-queue=-1")
    assert_usage_error(said, "--max-queue", "-1")


@pytest.mark.parametrize("flag", ["--model", "--listen", "--device", "--threads", "--max-queue"])
def test_missing_value(flag):
    """port taken; bad flag; unreadable cert

    A flag without its value.
    """
    assert_usage_error(run_server(flag), flag)


def test_missing_model():
    """port taken; bad flag; unreadable cert

    Nothing to serve.
    """
    assert_usage_error(run_server("--listen", "127.0.0.1:0"), "--model")


@pytest.mark.parametrize("flag", ["--help", "--version"])
def test_help_and_version(flag):
    """The control of the above: these two end with 0 and write to standard output."""
    done = run_server(flag)
    assert done.returncode == 0 and done.stdout and not done.stderr
    if flag == "--help":
        for name in (
            "--model",
            "--listen",
            "--device",
            "--threads",
            "--max-response-bytes",
            "--max-queue",
            "--max-request-bytes",
            "--max-tokens",
            "--max-buffered-bytes",
            "--drain-seconds",
            "--model-name",
            "--log-level",
            "--config",
            "--tls-cert",
            "--max-grid-axes",
            "SCALPEL_MAX_QUEUE",
            "--help",
            "--version",
        ):
            assert name in done.stdout
