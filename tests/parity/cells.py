"""Requests for one site and one operation: what the table of sites and operations is made of."""

from tests.parity import meaning, random_specs
from tests.parity.answer import Answer, key
from tests.parity.meaning import EDITABLE_SITES, OPERATIONS
from tests.parity.places import ModelShape
from tests.support.client import run_pb2, site_pb2

CELLS = tuple(
    (site, operation)
    for site in EDITABLE_SITES
    for operation in OPERATIONS
    if meaning.allowed(site, operation)
)

# Of the logits' scale: an edit that moves them less than this proves little.
MOVES = 1e-4


def request(
    shape: ModelShape, site: int, operation: str, seed: int, narrow: float, length_max: int = 8
) -> tuple[run_pb2.RunRequest, list[list[int]]]:
    """One intervention in two prompts, with the site before and after it, and the logits of all
    positions, edited and clean."""
    specs = random_specs.Specs(shape, seed, prompts=2, length_max=length_max)
    specs.add_intervention(site, operation, narrow)
    for moment in (site_pb2.MOMENT_BEFORE, site_pb2.MOMENT_AFTER):
        capture = specs.request.captures.add(moment=moment, name=site_pb2.Moment.Name(moment))
        capture.place.site = site
        capture.place.where.layers.extend(specs.request.interventions[0].place.where.layers[:1])
    specs.request.include_clean_run = True
    specs.request.logits.full.SetInParent()
    specs.request.logits.positions.range.SetInParent()
    return specs.request, specs.tokens


def moves(answer: Answer) -> bool:
    """Whether the edit of a cell moves the logits of a prompt, far beyond rounding."""
    for prompt in range(2):
        edited = answer[key("logits", "", None, [prompt])]
        clean = answer[key("logits", "", None, [prompt], clean=True)]
        if abs(edited.value - clean.value).max() > MOVES * clean.scale:
            return True
    return False
