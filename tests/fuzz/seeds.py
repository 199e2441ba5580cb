"""What each target starts from, made of files that the repository has: seeds, and dictionaries."""

import hashlib
import json
import pathlib
import re
import struct
from collections.abc import Callable, Iterator

from google.protobuf import json_format, message

from scalpel.v1 import run_pb2, service_pb2, sweep_pb2

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_MODEL = _ROOT / "deploy" / "demo-model"
_TEXTS = (
    "When Mary and John went to the store, John gave a drink to",
    "It's 12:30, isn't it?  We'll\tsee\r\n\n  indeed   ",
    "<|endoftext|>na\u00efve \u65e5\u672c\u8a9e \U0001f468\u200d\U0001f469 e\u0301 \u00a0\u3000x",
    "def f(x):\n    return {'a': [x**2, -1e-5]}  # \u2026\n",
    "aaaaaaaaaaaaaaaaaaaaaaaa        bbbb",
)


def _examples() -> Iterator[bytes]:
    for path in sorted((_ROOT / "client" / "examples" / "requests").glob("*.json")):
        yield path.read_bytes()


def _request() -> Iterator[bytes]:
    return (text for text in _examples() if b'"stop"' not in text)


def _generate() -> Iterator[bytes]:
    yield from (text for text in _examples() if b'"stop"' in text)
    for reuse in ("INTERVENED", "CLEAN_PROMPT", "RECOMPUTE_ALL"):
        first = int(reuse == "CLEAN_PROMPT")
        where = {"layers": [3], "steps": {"start": first}}
        place = {"site": "SITE_RESID_POST", "where": where}
        last = {"positions": {"indices": {"values": [-1, 4]}}}
        request = {
            "prompts": [{"text": "Mary and John"}, {"tokenIds": {"ids": [5, 6, 7]}}],
            "interventions": [
                {"place": place, "add": {"constant": 2}},
                {"place": {"site": "SITE_K", "where": where | last}, "noise": {"std": 2}},
            ],
            "probes": [{"place": place, "statistics": ["STATISTIC_STD"]}],
            "captures": [{"place": {"site": "SITE_PATTERN"}}],
            "logits": {"topK": {"k": 3}},
            "sampling": {"sample": True, "temperature": 2, "topP": 0.9, "repetitionPenalty": 1.2},
            "stop": {"maxNewTokens": 6, "ids": [9], "strings": ["the"], "minNewTokens": 2},
            "continuations": 2,
            "unsteered": True,
            "reuseKv": f"KV_REUSE_{reuse}",
        }
        yield json.dumps(request).encode()


def _message() -> Iterator[bytes]:
    """The same requests as they are on the wire, in slices of 7 bytes."""
    requests: list[message.Message] = [
        service_pb2.TokenizeRequest(text=_TEXTS[1]),
        service_pb2.DetokenizeRequest(ids=[1, 2, 300, 2**31 - 1]),
    ]
    for text in _request():
        kind = sweep_pb2.SweepRequest if b'"metrics"' in text else run_pb2.RunRequest
        requests.append(json_format.Parse(text, kind()))
    for request in requests:
        yield b"\x07" + request.SerializeToString(deterministic=True)


def _config() -> Iterator[bytes]:
    config = json.loads((_MODEL / "config.json").read_text("utf-8"))
    yield json.dumps(config).encode()
    others = {"hidden_size": 96, "n_inner": 37, "tie_word_embeddings": True, "tied": None}
    yield json.dumps({**config, **others}).encode()
    yield b'{"model_type": "gpt2"}'


def _safetensors() -> Iterator[bytes]:
    info = {
        "__metadata__": {"format": "pt", "b": "a"},
        "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "b": {"dtype": "F16", "shape": [], "data_offsets": [24, 26]},
        "c": {"dtype": "BF16", "shape": [0, 4], "data_offsets": [26, 26]},
    }
    for names in (["__metadata__", "a", "b", "c"], ["a"], []):
        header = json.dumps({name: info[name] for name in names}).encode()
        header += b" " * (-len(header) % 8)
        data = bytes(26 if "b" in names else 24 if names else 0)
        yield struct.pack("<Q", len(header)) + header + data


def _folder() -> tuple[dict[str, int], list[str]]:
    """The bundled tokenizer's bytes, and its first merges."""
    vocabulary = json.loads((_MODEL / "vocab.json").read_text("utf-8"))
    merges = (_MODEL / "merges.txt").read_text("utf-8").splitlines()[1:31]
    kept = {merge.replace(" ", "") for merge in merges} | {"<|endoftext|>"}
    few = [token for token in vocabulary if len(token) == 1 or token in kept]
    return {token: number for number, token in enumerate(few)}, merges


def _tokenizer() -> Iterator[bytes]:
    vocabulary, merges = _folder()
    whole = json.loads((_MODEL / "tokenizer.json").read_text("utf-8"))
    whole["model"].update(vocab=vocabulary, merges=[merge.split(" ") for merge in merges])
    for token in whole["added_tokens"]:
        token["id"] = vocabulary[token["content"]]
    two = {"vocab.json": vocabulary, "merges.txt": "#version: 0.2\n" + "\n".join(merges) + "\n"}
    named = {"add_prefix_space": True, "bos_token": "<|endoftext|>", "pad_token": "<pad>"}
    for text, files in zip(
        _TEXTS,
        [
            {"tokenizer.json": whole},
            two,
            {**two, "tokenizer_config.json": {**named, "added_tokens_decoder": {}}},
            {**two, "special_tokens_map.json": named, "added_tokens.json": {"<pad>": 999}},
            {"tokenizer.json": json.dumps(whole)[:-9], "vocab.json": "{", "merges.txt": "a b"},
        ],
        strict=True,
    ):
        yield json.dumps({**files, "text": text}).encode()


def _added_tokens() -> Iterator[bytes]:
    token = {"content": "<x>", "lstrip": True, "rstrip": False, "single_word": True}
    flags = {"normalized": False, "special": True}
    yield json.dumps(
        {
            "config": {"added_tokens_decoder": {"3": {**token, **flags}}, "bos_token": "<x>"},
            "map": {"additional_special_tokens": ["<y>", "ab"], "pad_token": {"content": "<p>"}},
            "text": "a <x> b<y>ab <p>",
        }
    ).encode()
    yield json.dumps(
        {
            "added": {"<x>": 3, "<z>": 4},
            "tokenizer": {"added_tokens": [{"id": 3, **token, **flags}]},
            "text": "word<x>word <x>. <z>\u00e9",
        }
    ).encode()


def _text() -> Iterator[bytes]:
    yield from (text.encode() for text in _TEXTS)
    yield b"cut \xe2\x82"


def _settings() -> Iterator[bytes]:
    yield b"--model=m\n--max-queue\n5\nSCALPEL_THREADS=2\n"
    yield b'--config=FILE\n--allow-insecure\n{"model": "m", "max-queue": 8, "listen": "[::1]:1"}'
    yield b'SCALPEL_CONFIG=FILE\nSCALPEL_MODEL=a/b\n{"tokens": "t", "log-format": "json"}'
    yield b"--model=m\n--listen=0.0.0.0:1\n--tls-cert=c\n--tls-key=k\n--tokens=t\n"
    yield b"--new-token=alice\n--help\n--version\n--healthcheck\n"


def _token_file() -> Iterator[bytes]:
    token = hashlib.sha256(b"a token of at least thirty-two characters").hexdigest()
    entry = {"name": "alice", "sha256": token, "role": "runner"}
    more = {"expires": "2027-01-01T00:00:00Z", "max_calls": 3, "max_tokens_per_second": 100}
    bob = {"name": "bob@example.org", "sha256": token[::-1], "role": "reader", **more}
    yield json.dumps({"tokens": [entry, bob]}).encode()
    yield b'{"tokens": []}'


def _trace() -> Iterator[bytes]:
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    yield f"id.1\nalice\n{parent}\nipv4:192.0.2.7:50123".encode()
    yield f'"\\\nbob\ncc{parent[2:]}-more\nunix:\x00\x1b[2J\u2028\r\n'.encode()


SEEDS: dict[str, Callable[[], Iterator[bytes]]] = {
    "added_tokens": _added_tokens,
    "config": _config,
    "generate": _generate,
    "message": _message,
    "request": _request,
    "safetensors": _safetensors,
    "settings": _settings,
    "text": _text,
    "token_file": _token_file,
    "tokenizer": _tokenizer,
    "trace": _trace,
}


def words(target: str) -> list[str]:
    """Its dictionary: the names in its seeds, and those of the settings."""
    if target in ("generate", "message", "request", "text", "trace"):
        return []
    found: set[str] = set()
    for seed in SEEDS[target]():
        found.update(re.findall(r'"[a-z_.]{3,40}"', seed.decode("utf-8", "replace")))
    if target == "settings":
        flags = re.findall(r"^  --([a-z-]+)", (_ROOT / "README.md").read_text("utf-8"), re.M)
        found.update(f"--{flag}" for flag in flags)
        found.update(f"SCALPEL_{flag.upper().replace('-', '_')}=" for flag in flags)
        found.update(f'"{flag}"' for flag in flags)
    return sorted(found)
