"""Generate by grpcurl and by scalpel-cli: the example files, and how a generation ends early."""

import json
import os
import signal
import subprocess
import time

import pytest

from tests.e2e import grpcurl
from tests.e2e.test_cli import DEADLINE, OK, REFUSED, cli
from tests.support import environment

FILES = environment.examples("generate")
PROMPT = "When Mary and John went to the store, John gave a drink to"
TEXT = ("generate", PROMPT, "--max-new-tokens", "6", "--ignore-eos")


@pytest.fixture(scope="module")
def answers(server):
    """The events of each example, by grpcurl."""
    made = {}
    for path in FILES:
        answer = grpcurl.call(server.address, "Generate", path.read_bytes())
        assert answer.code == 0, answer.stderr
        made[path.stem] = answer.messages
    return made


@pytest.mark.parametrize("name", [path.stem for path in FILES])
def test_example_streams_as_the_contract_says(answers, name):
    events = answers[name]
    kinds = [next(iter(event)) for event in events]
    assert kinds[0] == "started" and kinds[-1] == "finished" and kinds.count("finished") == 1
    request = json.loads((environment.EXAMPLES / f"{name}.json").read_text())
    copies = request.get("continuations", 1) * (2 if request.get("unsteered") else 1)
    streams = len(request["prompts"]) * copies
    assert len(events[0]["started"]["streams"]) == streams == kinds.count("stream_finished")
    assert kinds.count("intervention_report") == len(request["interventions"])
    for end in (event["stream_finished"] for event in events if "stream_finished" in event):
        index = end.get("stream", 0)
        own = [e["token"] for e in events if "token" in e and e["token"].get("stream", 0) == index]
        assert [token["id"] for token in own] == end["ids"]
        assert [token.get("step", 0) for token in own] == list(range(len(own)))
        pieces = "".join(token.get("text", "") for token in own)
        assert pieces.startswith(end.get("text", "")) and pieces
    assert int(events[-1]["finished"]["new_tokens"]) == kinds.count("token")


def test_a_steered_text_leaves_its_twin(answers):
    events = answers["22-generate-steered"]
    ends = [event["stream_finished"] for event in events if "stream_finished" in event]
    assert len({tuple(end["ids"]) for end in ends}) == 2
    steps = {event["step"].get("step", 0) for event in events if "step" in event}
    assert steps == set(range(max(len(end["ids"]) for end in ends)))


def test_a_drawn_text_ends_at_its_stop(answers):
    events = answers["23-generate-sampled"]
    ends = [event["stream_finished"] for event in events if "stream_finished" in event]
    assert all("." not in end.get("text", "") for end in ends)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_example_runs_in_the_cli(server, path):
    done = cli("generate", str(path), address=server.address)
    assert done.returncode == OK, done.stderr
    assert done.stdout and not done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "\x1b" not in done.stdout, "colours without a terminal"


def test_json_is_the_stream(server):
    done = cli(*TEXT, "--json", address=server.address)
    assert done.returncode == OK, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    (end,) = (event["stream_finished"] for event in events if "stream_finished" in event)
    shown = cli(*TEXT, address=server.address).stdout
    assert f"\n{end['text']}\n" in shown and len(end["ids"]) == 6


def test_flags_steer(server):
    edit = ("--scale", "resid_post:layer=9,factor=0.1,steps=generated")
    done = cli(*TEXT, *edit, "--unsteered", "--reuse-kv", "clean_prompt", address=server.address)
    assert done.returncode == OK, done.stderr
    assert "first difference at step 2" in done.stdout and "scale[0]" in done.stdout
    refused = cli(*TEXT, *edit, address=server.address)
    assert refused.returncode == REFUSED and "reuse_kv" in refused.stderr


def test_seeds_reproduce(server):
    draw = ("--sample", "--temperature", "2", "--json", "--seed")
    one, again, other = (
        [line for line in cli(*TEXT, *draw, seed, address=server.address).stdout.splitlines()
         if '"token"' in line]
        for seed in ("1", "1", "2")
    )  # fmt: skip
    assert one == again != other and len(one) == 6


LONG = ("generate", PROMPT, "--max-new-tokens", "200", "--ignore-eos", "--continuations", "16",
        "--scale", "z:factor=2", "--reuse-kv", "recompute_all")  # fmt: skip


def test_a_deadline_is_its_own_exit_code(server):
    done = cli(*LONG, "--deadline", "0.5", address=server.address)
    assert done.returncode == DEADLINE and "DEADLINE_EXCEEDED" in done.stderr
    assert done.stdout.endswith("\n") or not done.stdout


def test_ctrl_c_ends_the_text(server):
    line = [str(environment.cli_binary()), *LONG, "--server", server.address]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    head = process.stdout.readline()
    time.sleep(0.2)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert head.startswith("generation ") and process.returncode == 130
    assert err == "scalpel-cli: interrupted\n"
