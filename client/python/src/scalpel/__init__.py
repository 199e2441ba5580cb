"""Scalpel's client: GPT-2 under interventions.

>>> import scalpel
>>> from scalpel import zero, scale, logit_diff
>>> with scalpel.connect("localhost:50051") as model:
...     run = model.run("The capital of France is", [zero("z", layer=9, head=3)],
...                     stats={"resid_post": "std"}, capture="blocks.9.attn.hook_pattern")
...     run.top()[0].token, run.stat("resid_post", "std").shape

`scalpel.aio.connect` gives the same for asyncio, and `scalpel.spread.connect` spreads sweeps over
several servers. The contract's own messages are in `scalpel.v1`.
"""

from scalpel import aio, spread
from scalpel.axes import directions, heads, layers, positions, values
from scalpel.connection import TLS, Keepalive, Retry
from scalpel.errors import (
    AccessDenied,
    Cancelled,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    LimitExceeded,
    NotFound,
    NotImplementedByServer,
    PermissionDenied,
    ProtocolError,
    QueueFull,
    ReplicasDiffer,
    RequestError,
    ScalpelError,
    ServerError,
    Unauthenticated,
    Unavailable,
    Violation,
)
from scalpel.events import FirstNonFinite
from scalpel.generated_stream import GeneratedStream
from scalpel.generation_result import GenerationResult
from scalpel.info import ModelInfo, ServerStatus
from scalpel.metrics import (
    kl_from_clean,
    log_prob,
    logit,
    logit_diff,
    loss,
    patching_score,
    prob,
    rank,
    top1_agreement,
    top_k,
)
from scalpel.model import Model, Stream, connect
from scalpel.nodes import Node, node
from scalpel.notes import TokenWarning
from scalpel.observations import BlockOutputs, Logits, capture, probe
from scalpel.operations import (
    Operation,
    add,
    clamp,
    knockout,
    mean,
    noise,
    patch,
    project_out,
    scale,
    set_,
    zero,
)
from scalpel.patching import PatchingResult
from scalpel.paths import PathPatchingResult
from scalpel.place import Where, tokens
from scalpel.request_files import load_request, save_request
from scalpel.run_result import RunResult
from scalpel.spread import Replicas
from scalpel.sweep_result import SweepResult
from scalpel.tensors import Tensor

__version__ = "0.1.0"

__all__ = [
    "AccessDenied", "BlockOutputs", "Cancelled", "DeadlineExceeded", "FailedPrecondition",
    "FirstNonFinite", "GeneratedStream", "GenerationResult", "InvalidArgument", "Keepalive",
    "LimitExceeded", "Logits", "Model", "ModelInfo", "Node", "NotFound", "NotImplementedByServer",
    "Operation", "PatchingResult", "PathPatchingResult",
    "PermissionDenied", "ProtocolError", "QueueFull", "Replicas", "ReplicasDiffer", "RequestError",
    "Retry", "RunResult", "ScalpelError", "ServerError", "ServerStatus", "Stream", "SweepResult",
    "TLS", "Tensor", "TokenWarning", "Unauthenticated", "Unavailable", "Violation", "Where", "add",
    "aio", "capture", "clamp", "connect", "directions", "heads",
    "kl_from_clean", "knockout", "layers", "load_request", "log_prob", "logit", "logit_diff",
    "loss", "mean", "node", "noise", "patch", "patching_score", "positions", "prob", "probe",
    "project_out", "rank", "save_request", "scale", "set_", "spread", "tokens",
    "top1_agreement", "top_k", "values", "zero",
]  # fmt: skip
