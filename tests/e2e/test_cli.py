"""scalpel-cli against a real server: what it prints, what it saves, and how it ends."""

import json
import os
import signal
import socket
import subprocess
import time

import numpy as np
import pytest

from tests.e2e import heavy, stream
from tests.support import environment

EXAMPLES = environment.EXAMPLES
OK, REFUSED, USAGE, UNREACHABLE, DEADLINE = 0, 1, 2, 3, 4
SPARKS = set("▁▂▃▄▅▆▇█")


def cli(*arguments, address=None, data=None, timeout=120):
    line = [str(environment.cli_binary()), *arguments]
    if address:
        line += ["--server", address]
    return subprocess.run(
        line,
        capture_output=True,
        text=True,
        input=data,
        timeout=timeout,
        check=False,
        env={**os.environ, "COLUMNS": "80"},
    )


@pytest.mark.parametrize("name", [path.name for path in environment.examples()])
def test_every_example_runs(server, name):
    done = cli("run", str(EXAMPLES / name), address=server.address)
    assert done.returncode == OK, done.stderr
    assert done.stdout and not done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "\x1b" not in done.stdout, "colours without a terminal"


def test_statistics_by_layer_are_shown_with_a_sparkline(server):
    done = cli("run", str(EXAMPLES / "06-std-by-layer.json"), address=server.address)
    sparklines = [line for line in done.stdout.splitlines() if SPARKS & set(line)]
    assert len(sparklines) >= 4, "one clean and one edited, for each of two prompts"
    assert "triple the MLP" in done.stdout, "the intervention's report"


def test_a_part_is_shown_with_the_models_indices(server, tmp_path):
    done = cli(
        "run", "When Mary and John", "--probe", "z:l2_norm,per_head,head=7,3,layer=2",
        "--capture", "z:layer=2,head=7,3,position=-1", "--save", str(tmp_path),
        address=server.address,
    )  # fmt: skip
    assert done.returncode == OK, done.stderr
    lines = done.stdout.splitlines()
    at = next(i for i, line in enumerate(lines) if "l2_norm [2]" in line)
    assert lines[at + 1].strip() == "head 7, 3"
    at = next(i for i, line in enumerate(lines) if "float32 [1, 2, 8]" in line)
    assert lines[at + 1].strip() == "position 3; head 7, 3"


def test_values_that_are_not_finite_are_said(server):
    prompt = "When Mary and John"
    request = {
        "prompts": [{"text": prompt}],
        "interventions": [
            {
                "place": {"path": "resid_post", "where": {"layers": [9]}},
                "scale": {"factor": "NaN"},
            }
        ],
        "allow_non_finite": True,
        "logits": {"topK": {"k": 2}},
    }
    done = cli("run", "-", address=server.address, data=json.dumps(request))
    assert done.returncode == OK, done.stderr
    said = "not finite\n  resid_post, layer 9, prompt 0, position 0, made by an intervention\n"
    assert said in done.stdout and "nan%" not in done.stdout
    del request["logits"], request["interventions"][0]["scale"]["factor"]
    request["grid"] = {
        "interventions": request.pop("interventions"),
        "axes": [{"values": {"values": [1, "NaN", 2]}}],
    }
    request["metrics"] = [{"loss": {}}]
    done = cli("sweep", "-", address=server.address, data=json.dumps(request))
    assert done.returncode == OK, done.stderr
    assert "not finite\n  value nan: resid_post, layer 9" in done.stdout
    finite = cli("run", prompt, address=server.address)
    assert "not finite" not in finite.stdout


def test_json_is_the_stream_one_event_a_line(server):
    done = cli(
        "run",
        str(EXAMPLES / "05b-block-output-tuple-attentions.json"),
        "--json",
        address=server.address,
    )
    assert done.returncode == OK, done.stderr
    result = stream.checked(stream.from_json(map(json.loads, done.stdout.splitlines())))
    assert len(result.block_output(9)) == 2


def test_one_line_specs_say_the_same_as_a_file(server):
    """Zeroing K of head 2 by a flag, and by the example: the same logits."""
    prompt = json.loads((EXAMPLES / "01-zero-k-head.json").read_text())["prompts"][0]["text"]
    by_flag = cli(
        "run", prompt, "--zero", "K:layer=5,head=2", "--clean", "--json", address=server.address
    )
    by_file = cli("run", str(EXAMPLES / "01-zero-k-head.json"), "--json", address=server.address)
    assert by_flag.returncode == OK, by_flag.stderr
    logits = [
        [
            event["logits"]
            for event in map(json.loads, done.stdout.splitlines())
            if "logits" in event
        ]
        for done in (by_flag, by_file)
    ]
    assert logits[0] == logits[1] and len(logits[0]) == 2


def test_tensors_are_saved(server, tmp_path):
    done = cli(
        "run",
        str(EXAMPLES / "05-block-output-tuple.json"),
        "--save",
        str(tmp_path),
        address=server.address,
    )
    assert done.returncode == OK, done.stderr
    (file,) = tmp_path.glob("*.npy")
    assert np.load(file).ndim == 3


def test_request_from_standard_input(server):
    data = (EXAMPLES / "18-validate-only.json").read_text()
    assert cli("run", "-", address=server.address, data=data).returncode == OK


def test_tokenize_and_detokenize(server):
    done = cli("tokenize", "The keys to", "--json", address=server.address)
    assert done.returncode == OK, done.stderr
    ids = json.loads(done.stdout)["ids"]
    back = cli("detokenize", ",".join(map(str, ids)), address=server.address)
    assert back.returncode == OK and "The keys to" in back.stdout


def test_model_and_health(server):
    model = cli("model", address=server.address)
    assert (
        model.returncode == OK
        and "resid_post" in model.stdout
        and "hook_resid_post" in model.stdout
    )
    health = cli("health", address=server.address)
    assert health.returncode == OK and "SERVING" in health.stdout


def test_a_refusal_shows_every_violation(server):
    done = cli(
        "run",
        "The keys",
        "--zero",
        "K:layer=99",
        "--scale",
        "resid_post:layer=1",
        address=server.address,
    )
    assert done.returncode in (REFUSED, USAGE), done.stdout
    done = cli(
        "run", "The keys", "--zero", "K:layer=99", "--zero", "hook_nonsense", address=server.address
    )
    assert done.returncode == REFUSED
    assert "INVALID_ARGUMENT" in done.stderr
    assert "  interventions[0].place.where.layers[0]: " in done.stderr
    assert "  interventions[1].place.path: " in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("--no-such-flag",),
        ("no-such-command",),
        (),
        ("run", "--zero", "K:layer=", "The keys"),
        ("run", "no-such-file.json"),
        ("run", "The keys", "--top-k", "many"),
    ],
)
def test_usage_errors(server, arguments):
    done = cli(*arguments, address=server.address)
    assert done.returncode == USAGE
    assert len(done.stderr.strip().splitlines()) <= 3 and not done.stdout


def test_unreachable_server():
    with socket.socket() as deaf:  # bound, so that nobody else takes the port; but nothing listens
        deaf.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{deaf.getsockname()[1]}"
        done = cli("health", "--deadline", "20", address=address)
    assert done.returncode == UNREACHABLE
    assert address in done.stderr


def test_deadline(server):
    done = cli(
        "run", "-", "--deadline", "0.5", address=server.address, data=json.dumps(heavy.endless())
    )
    assert done.returncode == DEADLINE
    assert "DEADLINE_EXCEEDED" in done.stderr


def test_interrupt_cancels_the_call(server, client):
    """Ctrl-C ends the program at once, and the server's work with it."""
    line = [str(environment.cli_binary()), "run", "-", "--json", "--server", server.address]
    with subprocess.Popen(
        line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdin.write(json.dumps(heavy.endless()))
        process.stdin.close()
        assert "started" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        begin = time.monotonic()
        process.stdout.read()
        assert process.wait(10) != OK
        assert time.monotonic() - begin < 3
    client.run({"prompts": [{"text": "The keys"}]})


def test_a_closed_pipe_is_no_crash(server):
    """scalpel-cli ... | head"""
    binary = environment.cli_binary()
    done = subprocess.run(
        f"'{binary}' run '{EXAMPLES}/16-every-statistic.json' --json --server "
        f"{server.address} | head -n 1; echo ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    first, exit_code = done.stdout.splitlines()
    assert "started" in first
    assert int(exit_code) <= UNREACHABLE or int(exit_code) == 128 + signal.SIGPIPE
    assert "terminate" not in done.stderr
