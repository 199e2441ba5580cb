"""Questions in Scalpel's own words, and back."""

from scalpel.v1 import intervention_pb2, observation_pb2, run_pb2, site_pb2, statistic_pb2
from tests.bench.questions import (
    BOUNDARY_STATISTICS,
    NOISE_MEAN,
    NOISE_SEED,
    NOISE_STD,
    SITES,
    Edit,
    Question,
    Work,
    steering_vector,
)
from tests.parity.places import ModelShape


def run_request(shape: ModelShape, question: Question, work: Work) -> run_pb2.RunRequest:
    request = run_pb2.RunRequest()
    request.prompts.add().token_ids.ids.extend(question.tokens)
    if question.edit:
        request.interventions.add().CopyFrom(intervention(shape, question.edit))
    if work.full_logits:
        request.logits.full.SetInParent()
    if work.wants == "all":
        request.logits.positions.range.SetInParent()
    if work.wants == "boundaries":
        request.probes.extend(_boundary_probes(shape))
    if work.wants == "states":
        request.output_hidden_states = True
        request.captures.add(name="attentions").place.site = site_pb2.SITE_PATTERN
    return request


def intervention(shape: ModelShape, edit: Edit) -> intervention_pb2.Intervention:
    made = intervention_pb2.Intervention()
    made.place.site = SITES[edit.site]
    where = made.place.where
    where.layers.append(edit.layer)
    if edit.head is not None:
        where.heads.append(edit.head)
    if edit.position is not None:
        where.positions.indices.values.append(edit.position)
    match edit.operation:
        case "zero":
            made.zero.SetInParent()
        case "scale":
            made.scale.factor = edit.factor
        case "noise":
            where.units.range.step = 2
            made.noise.mean, made.noise.std, made.noise.seed = NOISE_MEAN, NOISE_STD, NOISE_SEED
        case "patch":  # from the first source of a sweep of one prompt
            made.patch.clean_prompt = 1
        case "steer":
            made.add.coefficient = edit.factor
            made.add.tensor.data = steering_vector(shape.d_model).tobytes()
            made.add.tensor.shape.append(shape.d_model)
    return made


def edit_of(message: intervention_pb2.Intervention) -> Edit:
    """The edit that `intervention` made a message of."""
    operation = message.WhichOneof("operation")
    where = message.place.where
    return Edit(
        "steer" if operation == "add" else operation,
        next(name for name, site in SITES.items() if site == message.place.site),
        where.layers[0],
        head=where.heads[0] if where.heads else None,
        position=where.positions.indices.values[0] if where.HasField("positions") else None,
        factor={"scale": message.scale.factor, "add": message.add.coefficient}.get(operation, 1.0),
    )


def _boundary_probes(shape: ModelShape) -> list[observation_pb2.Probe]:
    statistics = [
        statistic_pb2.Statistic.Value(f"STATISTIC_{name.upper()}") for name in BOUNDARY_STATISTICS
    ]
    probes = [observation_pb2.Probe(statistics=statistics) for _ in range(2)]
    probes[0].place.site = SITES["resid_pre"]
    probes[1].place.site = SITES["resid_post"]
    probes[1].place.where.layers.append(shape.n_layer - 1)
    return probes
