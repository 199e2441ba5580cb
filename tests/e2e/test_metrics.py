"""What Prometheus reads of a server, and what moves it."""

import re
import time
from pathlib import Path

import grpc
import pytest

from tests.e2e import grpcurl, heavy
from tests.e2e.insight import METRICS, scrape, wait_for
from tests.support import certificates, environment
from tests.support.channel import open_channel
from tests.support.client import Client, make_request
from tests.support.server import Server, run_server
from tests.support.tokens import TokenFile


def test_metrics_move_with_calls(watched):
    before = scrape(watched)
    # Of its own, so that no other test has left its clean run in the cache.
    prompt = {"text": "Whose metrics moved when John gave Mary a drink?"}
    request = {"prompts": [prompt], "captures": [{"place": {"site": "SITE_Z"}}]}
    assert grpcurl.call(watched.address, "Run", request).code == 0
    assert grpcurl.call(watched.address, "GetModel").code == 0

    ended = 'scalpel_calls_total{code="OK",method="Run"}'
    wait_for(lambda: scrape(watched)[ended] == before[ended] + 1)
    after = scrape(watched)
    moved = {name: after[name] - before.get(name, 0) for name in after}
    tokens = moved['scalpel_call_tokens_total{method="Run"}']
    assert tokens > 5
    assert moved["scalpel_engine_tokens_computed_total"] == tokens
    assert moved["scalpel_engine_tokens_total"] >= tokens
    assert moved["scalpel_engine_flops_total"] >= moved["scalpel_engine_flops_computed_total"] > 0
    assert moved["scalpel_engine_waves_total"] == moved["scalpel_engine_rows_total"] == 1
    assert moved["scalpel_engine_busy_seconds_total"] > 0
    for name in ("call", "call_queue", "call_compute"):
        assert moved[f'scalpel_{name}_duration_seconds_count{{method="Run"}}'] == 1
    assert moved['scalpel_calls_total{code="OK",method="GetModel"}'] == 1
    tensors = moved['scalpel_tensor_bytes_total{method="Run"}']
    assert 0 < tensors < moved['scalpel_response_bytes_total{method="Run"}']
    lookups = [value for name, value in moved.items() if name.startswith("scalpel_cache_lookups")]
    assert sum(lookups) == 1 and after["scalpel_cache_entries"] >= 1
    assert after['scalpel_calls_in_progress{method="Run"}'] == 0


def test_what_the_cache_knows_is_not_computed_again(watched):
    request = {"prompts": [{"text": "A prompt that nobody has sent yet, to this server at least"}]}
    grpcurl.call(watched.address, "Run", request)
    before = scrape(watched)
    grpcurl.call(watched.address, "Run", request)
    after = scrape(watched)
    name = "scalpel_engine_flops{}_total"
    whole, computed = (
        after[name.format(part)] - before[name.format(part)] for part in ("", "_computed")
    )
    assert computed < whole / 2
    assert after['scalpel_cache_lookups_total{result="hit"}'] > 0


def test_metrics_tell_the_build_and_the_process(watched):
    found = scrape(watched)
    (build,) = (name for name in found if name.startswith("scalpel_build_info"))
    assert 'device="cpu"' in build and re.search(r'version="\d', build)
    assert found["process_resident_memory_bytes"] > 1e6
    assert found["scalpel_memory_limit_bytes"] > found["process_resident_memory_bytes"]
    assert 0 < found["process_open_fds"] < found["process_max_fds"]
    assert abs(found["process_start_time_seconds"] - time.time()) < 3600
    with Client(watched.address) as client:
        client.model()
        assert scrape(watched)["scalpel_connections"] >= 1
    assert not [name for name in found if "caller" in name and "{reason=" not in name]


def secured(folder: Path) -> tuple[tuple[str, ...], grpc.ChannelCredentials]:
    """The flags of a server with TLS, and what its clients trust."""
    authority = certificates.Authority(folder, "ours")
    identity = authority.sign("server")
    flags = ("--tls-cert", str(identity.certificate), "--tls-key", str(identity.key))
    return flags, certificates.channel_credentials(authority)


def test_the_metrics_are_those_that_are_described(tmp_path):
    tokens = TokenFile(tmp_path / "tokens.json")
    flags, known = secured(tmp_path)
    with Server("--tokens", str(tokens.path), *flags, *METRICS, credentials=known) as server:
        found = scrape(server)
    text = (environment.ROOT / "server" / "insight" / "README.md").read_text()
    table = "".join(line.split("|")[1] for line in text.splitlines() if line.startswith("| `"))
    described = set(re.findall(r"`(\w+)`", table))
    exposed = {re.sub(r"(_(bucket|sum|count))?({.*)?$", "", name) for name in found}
    assert exposed == described


def test_calls_under_way_are_shown(watched):
    with Client(watched.address) as client:
        call = client.stub.Run(make_request(heavy.endless()))
        next(iter(call))
        wait_for(lambda: scrape(watched)["scalpel_engine_running"] == 1)
        assert scrape(watched)['scalpel_calls_in_progress{method="Run"}'] == 1
        call.cancel()
    wait_for(lambda: scrape(watched)['scalpel_calls_in_progress{method="Run"}'] == 0)


def test_a_taken_metrics_port_ends_the_start(watched, model_dir):
    taken = re.search(r"http://(127\.0\.0\.1:\d+)/metrics", watched.log())[1]
    listen = ("--listen", "127.0.0.1:0", "--metrics-listen", taken)
    done = run_server("--model", str(model_dir), *listen)
    assert done.returncode == 2
    assert f"--metrics-listen: cannot listen on {taken}: " in done.stderr


def test_changes_of_certificates_are_counted(tmp_path):
    flags, known = secured(tmp_path)
    failed = 'scalpel_certificate_reloads_total{result="failed"}'
    with Server(*flags, *METRICS, credentials=known) as server:
        assert scrape(server)[failed] == 0
        Path(flags[1]).write_text("nonsense")

        def noticed():
            with Client(server.address, credentials=known) as client:
                assert client.model()
            return scrape(server)[failed] == 1

        wait_for(noticed)


def test_refused_connections_are_counted(start_server):
    server = start_server("--max-connections", "1", *METRICS)
    with open_channel(server.address) as first:
        grpc.channel_ready_future(first).result(10)
        with open_channel(server.address) as second:
            with pytest.raises(grpc.FutureTimeoutError):
                grpc.channel_ready_future(second).result(1)
        assert scrape(server)["scalpel_connections_refused_total"] >= 1
