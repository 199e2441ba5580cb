"""Answers as bytes: a digest of every tensor and number that the server gave to the golden
requests, which every CPU must give again. `golden/bytes.json.gz`, by model, case and item.

`python -m tests.parity.golden_bytes` writes it anew from the server that is built; needed where
what is computed changes, which is news for the changelog.
"""

import gzip
import hashlib
import json

import numpy as np

from tests.parity import answer, golden
from tests.support.client import Client, make_request
from tests.support.server import Server

PATH = golden.FOLDER / "bytes.json.gz"
MODELS = ("demo", *golden.TINY_MODELS)
_DIGEST_CHARACTERS = 16

# Beyond the golden cases, whose statistics are few: every statistic of every place that has any, on
# prompts of several lengths, edited and not.
OBSERVED = [
    {
        "prompts": [{"tokenIds": {"ids": ids}} for ids in ([5, 9, 2], [31], list(range(20)))],
        "interventions": edits,
        "probes": [
            {
                "name": place,
                "place": {"path": place},
                "statistics": [
                    f"STATISTIC_{name}"
                    for name in (
                        "MEAN STD VARIANCE MIN MAX ABS_MAX L2_NORM MEAN_L2_NORM RMS KURTOSIS "
                        "ZERO_FRACTION RELATIVE_L2 COSINE"
                    ).split()
                ],
                "quantiles": [0.1, 0.5],
                "histogram": {"bins": 5, "min": -1, "max": 1},
            }
            for place in ("resid_post", "ln1_out", "qkv", "z", "mlp_pre", "mlp_post", "ln_f_out")
        ]
        + [{"name": "pattern", "place": {"path": "pattern"}, "statistics": ["STATISTIC_ENTROPY"]}],
        "includeCleanRun": True,
        "outputAttentions": True,
        "outputHiddenStates": True,
        "logits": logits,
    }
    for edits, logits in (
        ([], {"topK": {"k": 5}}),
        (
            [
                {"place": {"path": "q", "where": {"layers": [0]}}, "scale": {"factor": 1.7}},
                {"place": {"path": "mlp_post", "where": {"layers": [1]}}, "mean": {}},
            ],
            {"full": {}, "positions": {"range": {}}},
        ),
    )
]


def requests(model: str) -> dict[str, object]:
    """By name."""
    cases = {case.name: case.request for case in golden.load(model)}
    observed = {f"observed {i}": make_request(request) for i, request in enumerate(OBSERVED)}
    return {**cases, **observed}


def digests(client: Client, request) -> dict[str, str]:
    """Of every item of the answer, by its key."""
    found = answer.of_result(client.run(request))
    return {key: _digest(np.asarray(value)) for key, value in sorted(found.items())}


def _digest(value: np.ndarray) -> str:
    content = f"{value.dtype.str} {value.shape} ".encode() + np.ascontiguousarray(value).tobytes()
    return hashlib.sha256(content).hexdigest()[:_DIGEST_CHARACTERS]


def load() -> dict[str, dict[str, dict[str, str]]]:
    return json.loads(gzip.decompress(PATH.read_bytes()))


def main() -> None:
    content = {}
    for model in MODELS:
        with Server(model=golden.model_folder(model)) as server, Client(server.address) as client:
            content[model] = {
                name: digests(client, request) for name, request in requests(model).items()
            }
            print(model, sum(map(len, content[model].values())), "items by", client.model().kernels)
    text = json.dumps(content, separators=(",", ":"), sort_keys=True)
    PATH.write_bytes(gzip.compress(text.encode(), mtime=0))


if __name__ == "__main__":
    main()
