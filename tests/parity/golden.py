"""Golden files: requests with the answers that the HuggingFace twin gave, read without torch.

`golden/MODEL.json.gz` holds the cases of one model, and the SHA-256 of the weights that they were
made with. Arrays are float32, little-endian, in base64. `golden/models/` has the tiny models; the
bundled model lies in deploy/.
"""

import base64
import dataclasses
import gzip
import hashlib
import json
import pathlib

import numpy as np

from tests.parity.answer import Answer, Item
from tests.support import environment
from tests.support.client import json_format, make_request, run_pb2

FOLDER = pathlib.Path(__file__).parent / "golden"
MODELS = FOLDER / "models"
STRINGS = "strings.json"
TINY_MODELS = ("tiny", "tiny-flags", "tiny-upcast")


@dataclasses.dataclass
class Case:
    """One request and its answer."""

    name: str
    request: run_pb2.RunRequest
    tokens: list[list[int]]
    answer: Answer


def model_folder(model: str) -> pathlib.Path:
    return environment.model_dir() if model == "demo" else MODELS / model


def weights_digest(folder: pathlib.Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def save(model: str, cases: list[Case]) -> pathlib.Path:
    content = {
        "weights_sha256": weights_digest(model_folder(model)),
        "cases": [_encode_case(case) for case in cases],
    }
    path = FOLDER / f"{model}.json.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without name and time, so that the same content is the same file.
    path.write_bytes(gzip.compress(json.dumps(content, separators=(",", ":")).encode(), mtime=0))
    return path


def load(model: str) -> list[Case]:
    content = json.loads(gzip.decompress((FOLDER / f"{model}.json.gz").read_bytes()))
    _check_digest(content, model_folder(model))
    return [_decode_case(case) for case in content["cases"]]


def save_strings(folder: pathlib.Path, pairs: list[tuple[str, list[int]]]) -> pathlib.Path:
    path = FOLDER / STRINGS
    path.write_text(
        json.dumps(
            {"weights_sha256": weights_digest(folder), "strings": pairs}, separators=(",", ":")
        )
        + "\n"
    )
    return path


def load_strings(folder: pathlib.Path) -> list[tuple[str, list[int]]]:
    content = json.loads((FOLDER / STRINGS).read_text())
    _check_digest(content, folder)
    return content["strings"]


def _check_digest(content: dict, folder: pathlib.Path) -> None:
    assert content["weights_sha256"] == weights_digest(folder), (
        f"the golden files were made with other weights than those in {folder}; "
        "run `python -m tests.parity.make_golden`"
    )


def _encode_case(case: Case) -> dict:
    return {
        "name": case.name,
        "tokens": case.tokens,
        "request": json_format.MessageToDict(case.request),
        "items": [
            {
                "key": key,
                "site": item.site,
                "kind": item.kind,
                "scale": item.scale,
                "allowed": _encode_allowed(item.allowed),
                **_encode(item.value),
            }
            for key, item in case.answer.items()
        ],
    }


def _decode_case(content: dict) -> Case:
    answer = {
        item["key"]: Item(
            _decode(item),
            item["site"],
            item["kind"],
            item["scale"],
            _decode_allowed(item["allowed"]),
        )
        for item in content["items"]
    }
    return Case(content["name"], make_request(content["request"]), content["tokens"], answer)


def _encode(value: np.ndarray) -> dict:
    value = np.asarray(value)
    return {
        "shape": list(value.shape),
        "data": base64.b64encode(value.astype("<f4").tobytes()).decode(),
    }


def _decode(item: dict) -> np.ndarray:
    return np.frombuffer(base64.b64decode(item["data"]), dtype="<f4").reshape(item["shape"])


def _encode_allowed(allowed) -> float | dict:
    return _encode(allowed) if isinstance(allowed, np.ndarray) and allowed.ndim else float(allowed)


def _decode_allowed(allowed):
    return _decode(allowed) if isinstance(allowed, dict) else allowed
