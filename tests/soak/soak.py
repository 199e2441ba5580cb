"""A server under callers of every kind, for as long as is asked."""

import contextlib
import datetime
import itertools
import pathlib
import time
from collections.abc import Callable

from tests.fault.alive import SETTLE_SECONDS, Alive, open_files, rss_bytes
from tests.parity import golden_bytes
from tests.soak.acts import Known, digest
from tests.soak.callers import Crowd, Met, Role
from tests.soak.questions import distinct, make_questions
from tests.soak.samples import Sample, Sampler, add_small_calls, thread_count
from tests.soak.verdict import THREADS_TOLERANCE, Rest, Soaked
from tests.support.client import Client
from tests.support.server import Server, is_serving
from tests.support.tokens import TokenFile

# Of the time: then the server has what it keeps.
_WARM_UP = 1 / 3
_WARM_UP_SECONDS_MAX = 180
_RUNS, _SWEEPS = 24, 4
_RELOAD_SECONDS = 1.1  # the server looks at the token file each second
# A queue that is full again and again, and a cache that forgets.
_FLAGS = ("--max-queue", "4", "--baseline-cache-bytes", str(32 << 20))
# The roles that run nothing: one caller of each among sixteen.
_OTHERS = ("reader", "operator", "stranger", "guest", "expiring")


def soak(seconds: float, clients: int, folder: pathlib.Path, say: Callable[[str], None]) -> Soaked:
    """Soaks a server for about so long. `folder` is for its token file."""
    tokens = _Tokens(folder / "tokens.json")
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(Server("--tokens", str(tokens.file.path), *_FLAGS))
        client = stack.enter_context(Client(server.address, token=tokens.by_role["runner"]))
        operator = stack.enter_context(Client(server.address, token=tokens.by_role["operator"]))
        known = _ask_all(client)
        roles = _roles(clients, tokens.by_role)
        crowds = _Crowds(server, operator, tokens, known, roles, say)
        warm_up = min(seconds * _WARM_UP, _WARM_UP_SECONDS_MAX)
        say(f"warm-up of {warm_up:.0f} s, with {clients} clients")
        met, _, _ = crowds.run(warm_up)
        healthy = Alive(server, client)
        before = _rest(server)
        say(f"load of {seconds - warm_up:.0f} s")
        more, samples, calls = crowds.run(seconds - warm_up)
        met += more
        fault = _fault(healthy, known, client)
        _settle(server, before)
        return Soaked(
            seconds=seconds - warm_up,
            clients=clients,
            met=met,
            samples=samples,
            small_calls=[took for _, took in calls],
            before=before,
            after=_rest(server),
            fault=fault,
        )


class _Tokens:
    """The token file, whose guests come and go."""

    def __init__(self, path: pathlib.Path):
        self.file = TokenFile(path)
        self.by_role = {
            role: self.file.add(role, role) for role in ("reader", "runner", "operator")
        }
        self.by_role["stranger"] = "scalpel_" + "x" * 43
        self._entries = {}
        for name in ("guest", "expiring"):
            self.by_role[name] = self.file.add(name, "reader")
            self._entries[name] = self.file.entry(name)
            self.file.remove(name)

    def change(self, turn: int) -> None:
        """Lets the guests in, breaks the file, shows one guest out; the other's token expires by
        itself."""
        if turn % 3 == 0:
            soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=1.5)
            expires = soon.strftime("%Y-%m-%dT%H:%M:%SZ")
            self.file.add_entry({**self._entries["expiring"], "expires": expires})
            self.file.add_entry(self._entries["guest"])
        elif turn % 3 == 1:
            self.file.write_text('{"tokens": [')
        else:
            self.file.remove("guest")


def _roles(clients: int, tokens: dict[str, str]) -> list[Role]:
    """Runners, and some of the others."""
    names = [*_OTHERS] * max(1, clients // 16)
    names += ["runner"] * max(1, clients - len(names))
    return [Role(name, tokens[name]) for name in names]


def _ask_all(client: Client) -> Known:
    """The answers of the idle server."""
    questions = make_questions(client.model(), _RUNS, _SWEEPS)
    answers = [question.ask(client) for question in questions]
    assert distinct(answers), "two questions have the same answer, so a mix-up could go unseen"
    return Known(questions, [digest(answer) for answer in answers], golden_bytes.load()["demo"])


class _Crowds:
    """Load for a while, as often as is asked."""

    def __init__(
        self,
        server: Server,
        operator: Client,
        tokens: _Tokens,
        known: Known,
        roles: list[Role],
        say: Callable[[str], None],
    ):
        self.server, self.operator, self.tokens = server, operator, tokens
        self.known, self.roles, self.say = known, roles, say

    def run(self, seconds: float) -> tuple[Met, list[Sample], list[tuple[float, float]]]:
        reader = self.tokens.by_role["reader"]
        crowd = Crowd(self.server.address, self.roles, reader, self.known)
        sampler = Sampler(self.server.pid, self.operator)
        crowd.start()
        sampler.start()
        try:
            self._watch(seconds, sampler.samples)
        finally:
            samples = sampler.stop()
            met, calls = crowd.stop()
        add_small_calls(samples, calls)
        return met, samples, calls

    def _watch(self, seconds: float, samples: list[Sample]) -> None:
        """Changes the tokens, and says each minute how it goes."""
        begin = said = time.monotonic()
        turns = itertools.count()
        # Whole rounds of three: in the end the file is good, and the guests are out.
        while (turn := next(turns)) % 3 or time.monotonic() < begin + seconds:
            time.sleep(_RELOAD_SECONDS)
            self.tokens.change(turn)
            assert is_serving(self.server.address), self.server.log()[-3000:]
            if time.monotonic() > said + 60:
                said = time.monotonic()
                self.say(f"{said - begin:.0f} s: {_said(samples[-1])}")


def _said(sample: Sample) -> str:
    return f"{sample.rss >> 20} MiB, {sample.files} descriptors, {sample.threads} threads"


def _rest(server: Server) -> Rest:
    return Rest(rss_bytes(server.pid), open_files(server.pid), thread_count(server.pid))


def _settle(server: Server, before: Rest) -> None:
    """Waits for the threads that gRPC keeps for a while."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while thread_count(server.pid) > before.threads + THREADS_TOLERANCE:
        if time.monotonic() > deadline:
            return
        time.sleep(0.1)


def _fault(healthy: Alive, known: Known, client: Client) -> str:
    """What is wrong with the server now, if anything is."""
    try:
        healthy.check()
        for name in known.golden:
            known.check_golden(client, name)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""
