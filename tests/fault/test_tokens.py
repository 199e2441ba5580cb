"""Who may call: tokens and their roles, over every method that reflection lists.

That a wrong token takes as long to refuse as one that is nearly right is not timed here: noise
would decide. It holds by design, and the unit test of the tokens looks at it.
"""

import json
import re
import time

import pytest

from tests.fault import http2, methods
from tests.fault.alive import Alive
from tests.fault.calls import refused
from tests.fault.identity import (
    EVERY_METHOD,
    EXEMPT,
    GET_MODEL,
    LEAST_ROLE,
    OK,
    PERMISSION_DENIED,
    ROLES,
    UNAUTHENTICATED,
    status,
    statuses,
)
from tests.support.channel import open_channel
from tests.support.client import Client
from tests.support.server import Server, run_server
from tests.support.tokens import TokenFile

PAST, FUTURE = "2020-01-01T00:00:00Z", "2120-01-01T00:00:00Z"
RELOAD_SECONDS = 5  # the file is looked at each second


@pytest.fixture(scope="module")
def tokens(file) -> dict[str, str]:
    """A token of each role, and one of the past."""
    made = {role: file.add(f"a-{role}", role, expires=FUTURE) for role in ROLES}
    return {**made, "expired": file.add("late", "operator", expires=PAST)}


@pytest.fixture(scope="module")
def guarded(file, tokens):
    """A server that wants tokens, and admits as much metadata as the longest token here; alive
    after all that the module does to it."""
    flags = ["--tokens", str(file.path), "--max-metadata-bytes", "262144", "--log-level", "debug"]
    with Server(*flags) as server, Client(server.address, token=tokens["runner"]) as client:
        healthy = Alive(server, client)
        yield server
        healthy.check()


def test_every_method_has_its_rule(guarded, tokens):
    """every method of the descriptor without token (loop over reflection)"""
    with open_channel(guarded.address, token=tokens["operator"]) as channel:
        assert set(methods.listed(channel)) == EVERY_METHOD


def test_every_method_wants_a_token(guarded):
    """every method of the descriptor without token (loop over reflection)"""
    expected = {path: OK if path in EXEMPT else UNAUTHENTICATED for path in EVERY_METHOD}
    assert statuses(guarded.address) == expected


@pytest.mark.parametrize("role", ROLES)
def test_each_role_may_call_what_is_its_own(guarded, tokens, role):
    """valid token, method outside its role"""

    def expected(path):
        least = LEAST_ROLE.get(path, "reader")
        return OK if ROLES.index(role) >= ROLES.index(least) else PERMISSION_DENIED

    found = statuses(guarded.address, tokens[role])
    assert found == {path: expected(path) for path in EVERY_METHOD}


def test_an_expired_token_opens_nothing(guarded, tokens):
    """no token / wrong token / expired client cert"""
    expected = {path: OK if path in EXEMPT else UNAUTHENTICATED for path in EVERY_METHOD}
    assert statuses(guarded.address, tokens["expired"]) == expected


def test_a_token_expires_while_the_server_runs(guarded, file):
    """no token / wrong token / expired client cert"""
    soon = time.time() + RELOAD_SECONDS
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(soon))
    token = file.add("brief", "reader", expires=stamp)
    assert_soon(guarded, token, OK)
    assert_soon(guarded, token, UNAUTHENTICATED, seconds=RELOAD_SECONDS + 2)
    assert time.time() >= int(soon), "it expired too early"


def wrong_values(token):
    """Values of `authorization`, near a good one or far from it; bytes as they are sent."""
    good = token.encode()
    return {
        "empty": b"",
        "no scheme": good,
        "another scheme": b"Basic " + good,
        "scheme alone": b"Bearer",
        "scheme and space": b"Bearer ",
        "one character less": b"Bearer " + good[:-1],
        "one character more": b"Bearer " + good + b"A",
        "another last character": b"Bearer " + good[:-1] + (b"A" if good[-1:] != b"A" else b"B"),
        "another case": b"Bearer " + good.swapcase(),
        "twice": b"Bearer " + good + b" " + good,
        "with a comma": b"Bearer " + good + b", Bearer " + good,
        "beginning alone": b"Bearer scalpel_",
        "100 KB": b"Bearer " + b"x" * 100_000,
        "not ASCII": b"Bearer " + "schlüssel".encode() + good,
        "not UTF-8": b"Bearer \xff\xfe\xfd",
        "zero byte": b"Bearer \0" + good,
        "new line": b"Bearer x\nrequest=forged code=OK",
    }


@pytest.mark.parametrize("name", wrong_values("scalpel_").keys())
def test_malformed_tokens(guarded, tokens, name):
    """no token / wrong token / expired client cert

    In raw frames: libraries refuse to send some of these. A value that HTTP/2 does not allow may
    also end the stream.
    """
    value = wrong_values(tokens["operator"])[name]
    before = len(guarded.log())
    answer = http2.call(guarded.address, GET_MODEL, b"", headers=[("authorization", value)])
    illegal = set(value) & {0, 10}
    assert answer.get("grpc-status") == "16" or (illegal and "reset" in answer), answer
    assert not answer["body"]
    assert not any(line.startswith("request=forged") for line in guarded.log()[before:].split("\n"))


def test_two_tokens_are_none(guarded, tokens):
    """no token / wrong token / expired client cert

    Which of them counts would be a matter of chance, or of a proxy in between.
    """
    good = ("authorization", f"Bearer {tokens['reader']}")
    for other in (good, ("authorization", f"Bearer {tokens['operator']}")):
        with open_channel(guarded.address) as channel:
            assert methods.status(channel, GET_MODEL, [good, other]) == UNAUTHENTICATED


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_raw_call_with_the_right_token_works(guarded, tokens, scheme):
    """The control of the above; a scheme is the same in any case, as HTTP has it."""
    good = [("authorization", f"{scheme} {tokens['reader']}")]
    assert http2.call(guarded.address, GET_MODEL, b"", headers=good)["grpc-status"] == "0"


def test_a_refusal_tells_nothing(guarded, tokens, file):
    """no token / wrong token / expired client cert

    Neither which tokens there are nor where they are kept; and all kinds read alike but for the
    missing one.
    """
    said = []
    for token in ("scalpel_" + "x" * 43, tokens["expired"][:-1] + "."):
        with Client(guarded.address, token=token) as client:
            found = refused(client.model)
        assert found.code == UNAUTHENTICATED and found.message
        assert str(file.path) not in found.message and token not in found.message
        assert "a-runner" not in found.message and "late" not in found.message
        said.append(found.message)
    assert said[0] == said[1]


def assert_soon(server, token, code, seconds=RELOAD_SECONDS):
    """The status of a call with this token becomes `code`."""
    deadline = time.monotonic() + seconds
    while (found := status(server, token)) != code:
        assert time.monotonic() < deadline, f"{found}, not {code}, after {seconds} s"
        time.sleep(0.1)


def test_tokens_come_and_go_without_a_restart(guarded, tokens, file):
    """no token / wrong token / expired client cert

    The file is read again when it changes.
    """
    token = file.add("guest", "reader")
    assert_soon(guarded, token, OK)
    file.remove("guest")
    assert_soon(guarded, token, UNAUTHENTICATED)
    assert status(guarded, tokens["reader"]) == OK


BROKEN = {
    "half a file": '{"tokens": [',
    "nothing": "",
    "another form": "[]",
    "unknown key": '{"tokens": [], "token": []}',
    "unknown role": json.dumps({"tokens": [{"name": "a", "sha256": "0" * 64, "role": "root"}]}),
    "short digest": json.dumps({"tokens": [{"name": "a", "sha256": "0" * 63, "role": "reader"}]}),
}


def test_a_broken_token_file_keeps_the_old_list(guarded, tokens, file):
    """no token / wrong token / expired client cert

    Each broken file is told in the log, and changes nothing; so does none at all. A good one counts
    again.
    """
    for name, text in [*BROKEN.items(), ("no file", None)]:
        before = len(guarded.log())
        if text is None:
            file.path.unlink()
        else:
            file.write_text(text)
        deadline = time.monotonic() + RELOAD_SECONDS
        while "token" not in _warnings(guarded.log()[before:]):
            assert time.monotonic() < deadline, f"{name} is not told in the log"
            assert status(guarded, tokens["reader"]) == OK, name
        assert status(guarded, tokens["reader"]) == OK, name
        assert status(guarded) == UNAUTHENTICATED, name
    assert_soon(guarded, file.add("after", "reader"), OK)


def _warnings(log):
    return "\n".join(line for line in log.splitlines() if " warning " in line or " error " in line)


@pytest.mark.parametrize("name", [*BROKEN, "no file"])
def test_a_server_does_not_start_with_a_broken_token_file(model_dir, tmp_path, name):
    """port taken; bad flag; unreadable cert: exit 2 with the flag's name"""
    path = tmp_path / "tokens.json"
    if name in BROKEN:
        path.write_text(BROKEN[name])
    flags = ["--model", str(model_dir), "--listen", "127.0.0.1:0", "--tokens", str(path)]
    done = run_server(*flags)
    assert done.returncode == 2 and "--tokens" in done.stderr, done.stderr
    assert str(path) in done.stderr and "listening" not in done.stdout


def test_a_token_file_that_others_may_write_is_not_used(model_dir, tmp_path):
    """port taken; bad flag; unreadable cert: whoever writes it decides who may call"""
    path = TokenFile(tmp_path / "tokens.json").path
    path.chmod(0o666)
    flags = ["--model", str(model_dir), "--listen", "127.0.0.1:0", "--tokens", str(path)]
    done = run_server(*flags)
    assert done.returncode == 2 and "--tokens" in done.stderr, done.stderr


def test_a_made_token_opens(guarded, file):
    """What --new-token prints is a token and the entry to be put into the file, nothing else."""
    done = run_server("--new-token", "carol")
    assert done.returncode == 0, done.stderr
    (token,) = set(re.findall(r"scalpel_[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])", done.stdout))
    entry = json.loads(done.stdout[done.stdout.index("{") : done.stdout.rindex("}") + 1])
    assert entry["name"] == "carol" and token not in json.dumps(entry)
    file.add_entry(entry)
    assert_soon(guarded, token, OK)
    again = run_server("--new-token", "carol")
    assert token not in again.stdout


def test_no_token_is_ever_logged(guarded, tokens):
    """Not of those who are admitted nor of those who are not, at the level that logs most."""
    bad = "scalpel_" + "Mistyped" * 6
    for token in [*tokens.values(), bad]:
        statuses(guarded.address, token)
    raw = [("authorization", f"Basic {bad}")]
    http2.call(guarded.address, GET_MODEL, b"", headers=raw)
    log = guarded.log()
    for token in [*tokens.values(), bad]:
        assert token not in log and token.removeprefix("scalpel_")[:16] not in log
