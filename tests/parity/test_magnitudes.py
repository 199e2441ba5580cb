"""Numbers whose squares float32 does not hold, compared with numpy in float64."""

import numpy as np
import pytest

from scalpel.v1 import run_pb2, statistic_pb2
from tests.support.client import Client, RunResult, make_request

LAYER, TOKENS = 3, [5, 6, 7, 8]
PLACE = {"site": "SITE_RESID_POST", "where": {"layers": [LAYER]}}
PROMPTS = [{"token_ids": {"ids": TOKENS}}]
STATISTICS = [
    "MEAN", "STD", "VARIANCE", "ABS_MAX", "L2_NORM", "MEAN_L2_NORM", "RMS", "KURTOSIS",
    "RELATIVE_L2", "COSINE",
]  # fmt: skip
# One rounding to float32, and a little for sums in float64.
FLOAT32_ROUNDING, FLOAT64_SUMS = 2.0**-24, 1e-12


def random_vector(count: int) -> np.ndarray:
    return np.random.default_rng(4).standard_normal(count)


@pytest.fixture(scope="module")
def clean(client: Client) -> np.ndarray:
    """What the place holds before any edit, [position, unit]."""
    captures = [{"name": "before", "place": PLACE}]
    result = client.run({"prompts": PROMPTS, "captures": captures})
    return result.capture("before", layer=LAYER).astype(np.float64)


def edited(client: Client, edit: str, values: np.ndarray, **operation: object) -> RunResult:
    """A run in which `values` are the tensor of an edit of the place, whatever they hold."""
    request = make_request(
        {
            "prompts": PROMPTS,
            "interventions": [{"place": PLACE, edit.split(".")[0]: operation}],
            "captures": [{"name": "after", "place": PLACE}],
            "probes": [
                {"name": "p", "place": PLACE, "statistics": [f"STATISTIC_{s}" for s in STATISTICS]}
            ],
            "allow_non_finite": True,
            "include_clean_run": True,
            "logits": {"none": {}},
        },
        run_pb2.RunRequest,
    )
    name, field = edit.split(".")
    tensor = getattr(getattr(request.interventions[0], name), field)
    tensor.values.extend(values.astype(np.float32).ravel().tolist())
    tensor.shape.extend(values.shape)
    return client.run(request)


@pytest.mark.parametrize("length", [1e-44, 1e-38, 1e-30, 1e-20, 1, 1e19, 1e30, 6e37])
@pytest.mark.parametrize("factor", [0, -2.5])
def test_a_direction_of_any_length(
    client: Client, clean: np.ndarray, length: float, factor: float
) -> None:
    """Only where it points counts: also where the square of its length is no float32."""
    direction = (length * random_vector(clean.shape[1])).astype(np.float32)
    assert direction.any() and np.isfinite(direction).all()
    found = edited(client, "project_out.direction", direction, factor=factor)
    unit = direction.astype(np.float64)
    unit /= np.abs(unit).max()
    unit /= np.linalg.norm(unit)
    expected = clean + (factor - 1) * np.outer(clean @ unit, unit)
    after = found.capture("after", layer=LAYER)
    np.testing.assert_allclose(after, expected, rtol=FLOAT32_ROUNDING, atol=1e-13)


@pytest.mark.parametrize("size", [1e-44, 1e-38, 1e-30, 1e-20, 1, 1e19, 1e30, 6e37])
def test_statistics_of_numbers_of_any_size(client: Client, clean: np.ndarray, size: float) -> None:
    values = size * random_vector(clean.size).reshape(clean.shape)
    found = edited(client, "set.tensor", values)
    after = found.capture("after", layer=LAYER).astype(np.float64)
    np.testing.assert_array_equal(after, values.astype(np.float32))
    for name, expected in _by_numpy(after, clean).items():
        value = found.statistic("p", name.lower(), layer=LAYER)
        np.testing.assert_allclose(value, expected, rtol=FLOAT64_SUMS, err_msg=name)


def _by_numpy(x: np.ndarray, clean: np.ndarray) -> dict[str, float]:
    centred = x - x.mean()
    return {
        "MEAN": x.mean(),
        "STD": x.std(ddof=1),
        "VARIANCE": x.var(ddof=1),
        "ABS_MAX": np.abs(x).max(),
        "L2_NORM": np.linalg.norm(x),
        "MEAN_L2_NORM": np.linalg.norm(x, axis=-1).mean(),
        "RMS": np.sqrt(np.square(x).mean()),
        "KURTOSIS": (centred**4).mean() / np.square(centred).mean() ** 2,
        "RELATIVE_L2": np.linalg.norm(x - clean) / np.linalg.norm(clean),
        "COSINE": (x * clean).sum() / (np.linalg.norm(x) * np.linalg.norm(clean)),
    }


def test_each_statistic_with_squares_is_compared() -> None:
    """A new statistic that is a norm, or a moment, belongs into the list above."""
    others = {"MIN", "MAX", "ZERO_FRACTION", "ENTROPY", "UNSPECIFIED"}
    known = {f"STATISTIC_{name}" for name in [*STATISTICS, *others]}
    assert known == set(statistic_pb2.Statistic.keys())


@pytest.mark.parametrize("coefficient, values", [(1e30, 1e-30), (1e-30, 1e30), (3e38, 1e-38)])
def test_a_coefficient_and_a_tensor_of_opposite_sizes(
    client: Client, clean: np.ndarray, coefficient: float, values: float
) -> None:
    tensor = (values * random_vector(clean.shape[1])).astype(np.float32)
    found = edited(client, "add.tensor", tensor, coefficient=coefficient)
    expected = clean + coefficient * tensor.astype(np.float64)
    after = found.capture("after", layer=LAYER)
    np.testing.assert_allclose(after, expected, rtol=4 * FLOAT32_ROUNDING, atol=1e-6)
