"""Everything at once, for a while: callers of all roles, good and bad calls, cancels, deadlines,
lost connections, tokens that come and go. Afterwards the server is what it was.

SCALPEL_SOAK_SECONDS makes it longer.
"""

import collections
import contextlib
import dataclasses
import os
import pathlib
import random
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import grpc

from scalpel.v1 import server_status_pb2
from tests.fault import methods
from tests.fault.alive import GOLDEN, SETTLE_SECONDS, Alive
from tests.fault.calls import refusal, send_raw
from tests.support.client import Client, make_request
from tests.support.server import Server, is_serving
from tests.support.tokens import TokenFile

SECONDS = float(os.environ.get("SCALPEL_SOAK_SECONDS", "30"))
WARM_UP = 1 / 3  # of the time: then the server has what it keeps
RELOAD_SECONDS = 1.1  # the server looks at the file each second
# gRPC keeps a few threads for later, and does not say how many.
THREADS_TOLERANCE = 8
FLAGS = ["--max-queue", "4", "--baseline-cache-bytes", str(32 << 20)]
STATUS = server_status_pb2.GetStatusRequest()
Code = grpc.StatusCode


@dataclasses.dataclass
class Act:
    """One kind of call, and the codes in which it may end."""

    name: str
    do: Callable[[Client, random.Random], Any]
    codes: set


def some_run(dice):
    rows = [[dice.randrange(1000) for _ in range(dice.choice([1, 9, 60]))] for _ in range(3)]
    layer = dice.randrange(12)
    return {
        "prompts": [{"token_ids": {"ids": row}} for row in rows[: dice.randint(1, 3)]],
        "interventions": [
            {"place": {"site": "SITE_MLP_OUT", "where": {"layers": [layer]}}, "zero": {}}
        ],
        "probes": [{"place": {"site": "SITE_RESID_POST"}, "statistics": ["STATISTIC_STD"]}],
        "captures": [{"place": {"site": "SITE_PATTERN", "where": {"layers": [layer]}}}],
    }


def _cancel(client, dice):
    call = client.stub.Run(make_request(some_run(dice)), timeout=30)
    for _ in range(dice.randrange(6)):
        next(call, None)
    call.cancel()
    list(call)


def _hang_up(client, dice):
    """Leaves in the middle of an answer, or of a frame."""
    with Client(client.address, **client.identity) as leaving:
        next(leaving.stub.Run(make_request(some_run(dice)), timeout=30), None)
    host, port = client.address.rsplit(":", 1)
    with socket.create_connection((host, int(port))) as link:
        link.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\4"[: dice.randrange(27)])


def _too_large(client, _):
    row = {"token_ids": {"ids": [1] * 250}}
    client.run({"prompts": [row] * 60, "captures": [{"place": {"path": "hook_pattern"}}]})


READER = [
    Act("model", lambda client, _: client.model(), {Code.OK}),
    Act("tokenize", lambda client, _: client.tokenize("a lot of words " * 99), {Code.OK}),
    Act("not its role", lambda client, _: client.run(methods.RUN), {Code.PERMISSION_DENIED}),
]
BUSY = Code.RESOURCE_EXHAUSTED
RUNNER = [
    Act("run", lambda client, dice: client.run(some_run(dice)), {Code.OK, BUSY}),
    Act("sweep", lambda client, _: client.sweep(methods.SWEEP), {Code.OK, BUSY}),
    Act("cancel", _cancel, {Code.OK, Code.CANCELLED, BUSY}),
    Act(
        "deadline",
        lambda client, dice: client.run(some_run(dice), dice.uniform(0.001, 0.05)),
        {Code.OK, Code.DEADLINE_EXCEEDED, BUSY},
    ),
    Act("bad request", lambda client, _: client.run({}), {Code.INVALID_ARGUMENT}),
    Act(
        "noise",
        lambda client, dice: send_raw(client, b"\x0a\xff" + dice.randbytes(99)),
        {Code.INVALID_ARGUMENT},
    ),
    Act("too large", _too_large, {BUSY}),
    Act("hang up", _hang_up, {Code.OK, BUSY}),
]
OPERATOR = [
    Act("status", lambda client, _: client.stub.GetStatus(STATUS, timeout=30), {Code.OK}),
    Act("reflection", lambda client, _: methods.listed(client.channel), {Code.OK}),
]
STRANGER = [Act("stranger", lambda client, _: client.model(), {Code.UNAUTHENTICATED})]
GUEST = [Act("guest", lambda client, _: client.model(), {Code.OK, Code.UNAUTHENTICATED})]
# Each of these is to be seen: else the soak is drier than it says.
SEEN = {
    *((act.name, Code.OK) for act in [*READER[:2], *RUNNER[:2], *OPERATOR, *GUEST]),
    ("not its role", Code.PERMISSION_DENIED),
    ("cancel", Code.CANCELLED),
    ("deadline", Code.DEADLINE_EXCEEDED),
    ("bad request", Code.INVALID_ARGUMENT),
    ("noise", Code.INVALID_ARGUMENT),
    ("too large", BUSY),
    ("hang up", Code.OK),
    ("stranger", Code.UNAUTHENTICATED),
    ("guest", Code.UNAUTHENTICATED),
}


class Caller(threading.Thread):
    """Acts at random until told to stop; `counts` by act and code, `wrong` what must not be."""

    def __init__(self, server, token, acts, seed, stop):
        super().__init__(daemon=True)
        self.client = Client(server.address, timeout_seconds=60, token=token)
        self.acts, self.dice, self.stop = acts, random.Random(seed), stop
        self.counts, self.wrong = collections.Counter(), []

    def run(self):
        with self.client:
            while not self.stop.is_set():
                act = self.dice.choice(self.acts)
                code = self._code(act)
                self.counts[act.name, code] += 1
                if code not in act.codes:
                    self.wrong.append((act.name, code))

    def _code(self, act):
        try:
            act.do(self.client, self.dice)
            return Code.OK
        except grpc.RpcError as error:
            return error.code()
        except Exception as error:  # pylint: disable=broad-except
            return repr(error)  # a code that no act may end in


class Golden(threading.Thread):
    """Asks the same thing again and again amid all the others; `differed` counts other answers."""

    def __init__(self, server, token, answer, stop):
        super().__init__(daemon=True)
        self.client = Client(server.address, token=token)
        self.answer, self.stop = answer, stop
        self.same, self.differed = 0, 0

    def run(self):
        with self.client:
            while not self.stop.wait(0.2):
                try:
                    same = self.client.run(GOLDEN).content() == self.answer
                    self.same, self.differed = self.same + same, self.differed + (not same)
                except grpc.RpcError as error:
                    retry = refusal(error).details["RetryInfo"].retry_delay
                    time.sleep(retry.ToTimedelta().total_seconds())


def soak(server, file, tokens, seconds, golden):
    """All callers at once for these seconds; the counts of what they met."""
    stop = threading.Event()
    kinds = [("reader", READER), *[("runner", RUNNER)] * 4, ("operator", OPERATOR)]
    kinds += [("stranger", STRANGER), ("guest", GUEST)]
    callers = [
        Caller(server, tokens[role], acts, seed, stop) for seed, (role, acts) in enumerate(kinds)
    ]
    asked = Golden(server, tokens["runner"], golden, stop)
    for thread in [*callers, asked]:
        thread.start()
    for turn in range(3 * round(seconds / RELOAD_SECONDS / 3)):
        time.sleep(RELOAD_SECONDS)
        _change(file, tokens["guest entry"], turn)
        assert is_serving(server.address)
    stop.set()
    for thread in [*callers, asked]:
        thread.join(60)
        assert not thread.is_alive(), "a call hangs"
    wrong = [found for caller in callers for found in caller.wrong]
    assert not wrong, f"{len(wrong)} calls ended otherwise, among them {wrong[:5]}"
    assert asked.same and not asked.differed
    return sum((caller.counts for caller in callers), collections.Counter())


def _change(file, guest, turn):
    """Lets the guest in, breaks the file, shows the guest out."""
    if turn % 3 == 0:
        file.add_entry(guest)
    elif turn % 3 == 1:
        file.write_text('{"tokens": [')
    else:
        file.remove(guest["name"])


def threads(pid):
    return len(list(pathlib.Path(f"/proc/{pid}/task").iterdir()))


def test_soak(tmp_path):
    """The server survives all of the above together, and keeps nothing of it."""
    file = TokenFile(tmp_path / "tokens.json")
    tokens = {role: file.add(role, role) for role in ("reader", "runner", "operator")}
    tokens |= {"stranger": "scalpel_" + "x" * 43, "guest": file.add("guest", "reader")}
    tokens["guest entry"] = file.entry("guest")
    file.remove("guest")
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(Server("--tokens", str(file.path), *FLAGS))
        client = stack.enter_context(Client(server.address, token=tokens["runner"]))
        golden = client.run(GOLDEN).content()
        counts = soak(server, file, tokens, SECONDS * WARM_UP, golden)
        healthy, before = Alive(server, client), threads(server.pid)
        counts += soak(server, file, tokens, SECONDS * (1 - WARM_UP), golden)
        healthy.check()
        deadline = time.monotonic() + SETTLE_SECONDS
        while threads(server.pid) > before + THREADS_TOLERANCE:
            assert time.monotonic() < deadline, f"{threads(server.pid)} threads, not {before}"
            time.sleep(0.1)
    assert SEEN <= set(counts), f"not seen: {SEEN - set(counts)}"
