"""Scalpel's Generate: a call for each stream, and all of them at once."""

import concurrent.futures
import dataclasses
import time

import numpy as np

from scalpel.v1 import generate_pb2
from tests.bench.answers import Answer
from tests.bench.peers.remote import Remote
from tests.bench.questions import DECODE_TOKENS, Question, Work
from tests.bench.requests import intervention
from tests.parity.places import ModelShape

_CALL_SECONDS = 600


@dataclasses.dataclass
class Stream:
    """One stream: its steps' logits, and when each token arrived, in seconds since it began."""

    top: list[list]  # by step, the largest logits
    arrived: list[float]


class Generation(Remote):
    def run(self, work: Work) -> list[Stream]:
        with concurrent.futures.ThreadPoolExecutor(work.clients) as pool:
            shares = [work.questions[client :: work.clients] for client in range(work.clients)]
            answered = list(
                pool.map(
                    lambda stub, share: [self._generate(stub, question) for question in share],
                    self.stubs[: work.clients],
                    shares,
                )
            )
        streams: list[Stream] = [Stream([], [])] * len(work.questions)
        for client, of_client in enumerate(answered):
            streams[client :: work.clients] = of_client
        return streams

    def answer(self, work: Work, replies: list[Stream]) -> Answer:
        ids = np.array([[[t.token_id for t in step] for step in r.top] for r in replies])
        logits = np.array([[[t.logit for t in step] for step in r.top] for r in replies])
        return Answer(work.index, logits, ids[..., 0], ids, {})

    def figures(self, work: Work, replies: list[Stream]) -> dict[str, list[float]]:
        between = [1e3 * gap for reply in replies for gap in np.diff(reply.arrived)]
        seconds = max(reply.arrived[-1] for reply in replies)
        return {
            "first token ms": [1e3 * reply.arrived[0] for reply in replies],
            "between tokens ms": between,
            "tokens/s": [DECODE_TOKENS * len(replies) / seconds],
        }

    def _generate(self, stub, question: Question) -> Stream:
        request = generate_request(self.shape, question)
        begin = time.perf_counter()
        stream = Stream([], [])
        for response in stub.Generate(request, timeout=_CALL_SECONDS):
            if response.HasField("token"):
                stream.arrived.append(time.perf_counter() - begin)
            elif response.HasField("step"):
                stream.top.append(list(response.step.logits.positions[0].tokens))
        return stream


def generate_request(shape: ModelShape, question: Question) -> generate_pb2.GenerateRequest:
    request = generate_pb2.GenerateRequest()
    request.prompts.add().token_ids.ids.extend(question.tokens)
    if question.edit:
        request.interventions.add().CopyFrom(intervention(shape, question.edit))
        request.reuse_kv = generate_pb2.KV_REUSE_INTERVENED
    request.stop.max_new_tokens = DECODE_TOKENS
    request.stop.ignore_eos = True
    request.logits.top_k.k = 10
    return request
