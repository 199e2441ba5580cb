"""Scalpel's Sweep: all questions about one prompt are one call."""

import grpc
import numpy as np

from scalpel.v1 import service_pb2_grpc, statistic_pb2, sweep_pb2
from tests.bench.answers import Answer
from tests.bench.peers.contestant import Contestant
from tests.bench.questions import SITES, Work, asked_ids
from tests.bench.requests import intervention
from tests.parity.places import ModelShape

_CALL_SECONDS = 600


class Sweep(Contestant):
    def __init__(self, name: str, address: str, shape: ModelShape):
        super().__init__(name, "scalpel")
        self.shape = shape
        self.channel = grpc.insecure_channel(address)
        self.stub = service_pb2_grpc.InterventionServiceStub(self.channel)

    def run(self, work: Work) -> list[sweep_pb2.SweepResponse]:
        return list(self.stub.Sweep(sweep_request(self.shape, work), timeout=_CALL_SECONDS))

    def answer(self, work: Work, replies: list[sweep_pb2.SweepResponse]) -> Answer:
        variants = sorted(
            (reply.variant for reply in replies if reply.HasField("variant")),
            key=lambda variant: variant.index,
        )
        if [variant.index for variant in variants] != list(range(len(work.questions))):
            raise ValueError(f"{len(variants)} variants of {len(work.questions)} came back")
        values = {
            name: [
                metric for variant in variants for metric in variant.metrics if metric.name == name
            ]
            for name in ("logits", "top")
        }
        logits = np.array([list(metric.values) for metric in values["logits"]])[:, None]
        top = np.array([[metric.tokens[0].token_id] for metric in values["top"]])
        ids = np.broadcast_to(asked_ids(self.shape.vocab_size), logits.shape)
        return Answer(work.index, logits, top, ids, _deviations(work, variants))

    def close(self) -> None:
        self.channel.close()


def sweep_request(shape: ModelShape, work: Work) -> sweep_pb2.SweepRequest:
    question = work.questions[0]
    request = sweep_pb2.SweepRequest()
    request.prompts.add().token_ids.ids.extend(question.tokens)
    if question.source:
        request.sources.add().token_ids.ids.extend(question.source)
    _add_grid(shape, work, request.grid)
    request.metrics.add(name="logits").logits.ids.extend(asked_ids(shape.vocab_size).tolist())
    request.metrics.add(name="top").top_k.k = 1
    if work.wants == "std":
        probe = request.probes.add(statistics=[statistic_pb2.STATISTIC_STD])
        probe.place.site = SITES["resid_post"]
    return request


def _add_grid(shape: ModelShape, work: Work, grid: sweep_pb2.Grid) -> None:
    """The product of the values that the edits take, which is how the workloads make them: layers
    first, and the other axis fastest."""
    edits = [question.edit for question in work.questions]
    made = grid.interventions.add()
    made.CopyFrom(intervention(shape, edits[0]))
    del made.place.where.layers[:], made.place.where.heads[:]
    grid.axes.add().layers.values.extend(sorted({edit.layer for edit in edits}))
    match edits[0].operation:
        case "zero":
            grid.axes.add().heads.values.extend(sorted({edit.head for edit in edits}))
        case "patch":
            made.place.where.ClearField("positions")
            positions = sorted({edit.position for edit in edits})
            grid.axes.add().positions.values.extend(positions)
        case "scale":
            made.scale.ClearField("factor")
            grid.axes.add().values.values.extend(sorted({edit.factor for edit in edits}))


def _deviations(work: Work, variants: list[sweep_pb2.VariantResult]) -> dict[str, np.ndarray]:
    if work.wants != "std":
        return {}
    return {
        "std": np.array(
            [
                [found.statistics[0].values[0] for found in variant.statistics]
                for variant in variants
            ]
        )
    }
