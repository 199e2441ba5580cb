"""What callers do to a server, each kind with the codes in which it may end. Whatever is answered
in full is compared with what the same server answered when it was idle."""

import contextlib
import dataclasses
import hashlib
import random
import socket
import time
from collections.abc import Callable, Sequence

import grpc

from scalpel.v1 import server_status_pb2
from tests.fault import methods
from tests.fault.calls import send_raw
from tests.parity import golden_bytes
from tests.soak.questions import Question, content
from tests.support.client import Client

Code = grpc.StatusCode
BUSY = Code.RESOURCE_EXHAUSTED
_STATUS = server_status_pb2.GetStatusRequest()
# Of one burst: more than the engine takes at once and its queue holds.
_BURST_CALLS = 12
# A slow reader takes a message and sleeps, so many times, before it reads the rest.
_SLOW_MESSAGES = 8
_SLOW_SECONDS = 0.1


class WrongBytes(Exception):
    """An answer is not what the idle server gave, or what a golden file holds."""


def digest(answer: Sequence[bytes]) -> bytes:
    parts = (len(part).to_bytes(8) + part for part in answer)
    return hashlib.sha256(b"".join(parts)).digest()


@dataclasses.dataclass(frozen=True)
class Known:
    """Questions whose answers are known, by digest: of the idle server, and of the golden file that
    every CPU must reproduce."""

    questions: list[Question]
    digests: list[bytes]
    golden: dict[str, dict[str, str]]

    def pick(self, dice: random.Random, kind: str) -> int:
        chosen = [i for i, each in enumerate(self.questions) if each.name.startswith(kind)]
        return dice.choice(chosen)

    def check(self, index: int, answer: Sequence[bytes]) -> None:
        if digest(answer) != self.digests[index]:
            raise WrongBytes(self.questions[index].name)

    def check_golden(self, client: Client, name: str) -> None:
        if golden_bytes.digests(client, golden_bytes.requests("demo")[name]) != self.golden[name]:
            raise WrongBytes(f"golden {name}")


@dataclasses.dataclass(frozen=True)
class Act:
    """One kind of call, and the codes in which it may end."""

    name: str
    do: Callable[[Client, random.Random, Known], object]
    codes: set[Code]
    # Whether a refusal is for good. Otherwise it must say when to try again.
    for_good: bool = False


def _ask(kind: str) -> Callable[[Client, random.Random, Known], None]:
    def do(client: Client, dice: random.Random, known: Known) -> None:
        index = known.pick(dice, kind)
        known.check(index, known.questions[index].ask(client))

    return do


def _burst(client: Client, dice: random.Random, known: Known) -> None:
    """Many calls at once. Some of them must be refused, and those that are not must be right."""
    index = known.pick(dice, "sweep")
    calls = [known.questions[index].call(client) for _ in range(_BURST_CALLS)]
    refused = None
    for call in calls:
        try:
            known.check(index, content(call))
        except grpc.RpcError as error:
            refused = refused or error
    if refused:
        raise refused


def _golden(client: Client, dice: random.Random, known: Known) -> None:
    known.check_golden(client, dice.choice(sorted(known.golden)))


def _deadline(client: Client, dice: random.Random, known: Known) -> None:
    index = known.pick(dice, "captures")
    known.check(index, known.questions[index].ask(client, dice.uniform(0.001, 0.05)))


def _read_slowly(client: Client, dice: random.Random, known: Known) -> None:
    index = known.pick(dice, "captures")

    def slowly(call):
        for number, message in enumerate(call):
            yield message
            if number < _SLOW_MESSAGES:
                time.sleep(dice.uniform(0, _SLOW_SECONDS))

    known.check(index, content(slowly(known.questions[index].call(client))))


def _cancel(client: Client, dice: random.Random, known: Known) -> None:
    call = known.questions[known.pick(dice, "captures")].call(client)
    for _ in range(dice.randrange(6)):
        next(call, None)
    call.cancel()
    list(call)


def _hang_up(client: Client, dice: random.Random, known: Known) -> None:
    """Leaves in the middle of an answer, with its connection."""
    with Client(client.address, **client.identity) as leaving:
        next(known.questions[known.pick(dice, "captures")].call(leaving), None)


def _reconnect(client: Client, dice: random.Random, known: Known) -> None:
    with Client(client.address, **client.identity) as anew:
        _ask("run")(anew, dice, known)


def _garbage(client: Client, dice: random.Random, _: Known) -> None:
    """Bytes that are no HTTP/2, or that stop being so in the middle of a frame."""
    host, port = client.address.rsplit(":", 1)
    hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\4"
    with socket.create_connection((host, int(port)), 10) as link, contextlib.suppress(OSError):
        link.sendall(hello[: dice.randrange(len(hello))] + dice.randbytes(dice.randrange(200)))
        link.settimeout(0.2)
        link.recv(4096)


def _too_large(client: Client, *_: object) -> None:
    row = {"token_ids": {"ids": [1] * 250}}
    client.run({"prompts": [row] * 60, "captures": [{"place": {"path": "hook_pattern"}}]})


def _look(client: Client, *_: object) -> None:
    client.model()


READER = [
    Act("model", _look, {Code.OK}),
    Act("tokenize", lambda client, *_: client.tokenize("a lot of words " * 99), {Code.OK}),
    Act("not its role", lambda client, *_: client.run(methods.RUN), {Code.PERMISSION_DENIED}),
]
RUNNER = [
    Act("run", _ask("run"), {Code.OK, BUSY}),
    Act("overflow", _ask("overflow"), {Code.OK, BUSY}),
    Act("sweep", _ask("sweep"), {Code.OK, BUSY}),
    Act("burst", _burst, {Code.OK, BUSY}),
    Act("generate", _ask("generation"), {Code.OK, BUSY}),
    Act("captures", _ask("captures"), {Code.OK, BUSY}),
    Act("golden file", _golden, {Code.OK, BUSY}),
    Act("read slowly", _read_slowly, {Code.OK, BUSY}),
    Act("cancel", _cancel, {Code.OK, Code.CANCELLED, BUSY}),
    Act("deadline", _deadline, {Code.OK, Code.DEADLINE_EXCEEDED, BUSY}),
    # A full queue is told before what is wrong.
    Act("bad request", lambda client, *_: client.run({}), {Code.INVALID_ARGUMENT, BUSY}),
    Act(
        "noise",
        lambda client, dice, _: send_raw(client, b"\x0a\xff" + dice.randbytes(99)),
        {Code.INVALID_ARGUMENT},
    ),
    Act("too large", _too_large, {BUSY}, for_good=True),
    Act("hang up", _hang_up, {Code.OK, BUSY}),
    Act("reconnect", _reconnect, {Code.OK, BUSY}),
    Act("garbage", _garbage, {Code.OK}),
]
OPERATOR = [
    Act("status", lambda client, *_: client.stub.GetStatus(_STATUS, timeout=30), {Code.OK}),
    Act("reflection", lambda client, *_: methods.listed(client.channel), {Code.OK}),
]
STRANGER = [Act("stranger", _look, {Code.UNAUTHENTICATED})]
# Whose token comes and goes, or expires.
GUEST = [Act("guest", _look, {Code.OK, Code.UNAUTHENTICATED})]
EXPIRING = [Act("expiring", _look, {Code.OK, Code.UNAUTHENTICATED})]
ROLES = {
    "reader": READER,
    "runner": RUNNER,
    "operator": OPERATOR,
    "stranger": STRANGER,
    "guest": GUEST,
    "expiring": EXPIRING,
}
# Acts whose answers are compared, where they come to their end.
COMPARED = (
    "run", "overflow", "sweep", "generate", "captures", "golden file", "read slowly", "reconnect",
    "deadline",
)  # fmt: skip
# Each of these is to be seen: else the soak is drier than it says.
SEEN = {
    *((act.name, Code.OK) for acts in ROLES.values() for act in acts if Code.OK in act.codes),
    ("not its role", Code.PERMISSION_DENIED),
    ("cancel", Code.CANCELLED),
    ("deadline", Code.DEADLINE_EXCEEDED),
    ("bad request", Code.INVALID_ARGUMENT),
    ("noise", Code.INVALID_ARGUMENT),
    ("too large", BUSY),
    ("burst", BUSY),
    ("stranger", Code.UNAUTHENTICATED),
    ("guest", Code.UNAUTHENTICATED),
    ("expiring", Code.UNAUTHENTICATED),
} - {("deadline", Code.OK), ("cancel", Code.OK), ("burst", Code.OK)}
