"""Drives the real grpcurl without any .proto file: all it knows comes from server reflection."""

import dataclasses
import json
import subprocess

from tests.support import environment

SERVICE = "scalpel.v1.InterventionService"
# grpcurl exits with 64 + the gRPC status code when the server answered with an error.
STATUS_EXIT_BASE = 64


@dataclasses.dataclass
class Answer:
    """What grpcurl printed: the messages that came, and the status as google.rpc.Status in JSON."""

    exit_code: int
    messages: list
    status: dict
    stdout: str
    stderr: str

    @property
    def code(self):
        """The gRPC status code; 0 is OK."""
        return self.status.get("code", 0)

    @property
    def text(self):
        return self.status.get("message", "")

    def details(self, name):
        """The status details of type google.rpc.<name>."""
        return [
            detail
            for detail in self.status.get("details", [])
            if detail["@type"] == f"type.googleapis.com/google.rpc.{name}"
        ]


def command(address, *arguments, options=(), data=None):
    """The command line of one call. `data` given: it is read from standard input."""
    line = [str(environment.grpcurl_binary()), "-plaintext", "-format-error", *options]
    if data is not None:
        line += ["-d", "@"]
    return [*line, address, *arguments]


def parse_messages(text):
    """grpcurl prints messages one after the other, each over several lines."""
    decoder, position, messages = json.JSONDecoder(), 0, []
    while position < len(text):
        if text[position].isspace():
            position += 1
            continue
        message, position = decoder.raw_decode(text, position)
        messages.append(message)
    return messages


def call(address, method, data="{}", options=(), timeout=120):
    """Calls SERVICE/method (or a name with a slash); `data` is JSON text, its bytes, or a dict."""
    if isinstance(data, dict):
        data = json.dumps(data)
    if isinstance(data, str):
        data = data.encode()
    name = method if "/" in method else f"{SERVICE}/{method}"
    done = subprocess.run(
        command(address, name, options=options, data=data),
        input=data,
        capture_output=True,
        timeout=timeout,
        check=False,
    )
    stdout, stderr = done.stdout.decode(), done.stderr.decode()
    status = {}
    if done.returncode >= STATUS_EXIT_BASE:
        status = json.loads(stderr[stderr.index("{") :])
        assert done.returncode == STATUS_EXIT_BASE + status["code"], stderr
    else:
        assert done.returncode == 0, f"grpcurl failed before the call: {stderr}"
    return Answer(done.returncode, parse_messages(stdout), status, stdout, stderr)


def reflect(address, *arguments):
    """`grpcurl list` and `grpcurl describe`: the printed text."""
    done = subprocess.run(
        command(address, *arguments), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
