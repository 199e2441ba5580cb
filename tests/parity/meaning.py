"""Which operations and statistics the contract has at which sites."""

from collections.abc import Container

from tests.parity import places
from tests.support.client import intervention_pb2, site_pb2, statistic_pb2

OPERATIONS = tuple(
    field.name
    for field in intervention_pb2.Intervention.DESCRIPTOR.oneofs_by_name["operation"].fields
)
EDITABLE_SITES = tuple(site for site in places.ALL_SITES if places.facts(site).editable)
STATISTICS = tuple(
    number
    for number in statistic_pb2.Statistic.values()
    if number != statistic_pb2.STATISTIC_UNSPECIFIED
)
# Those that compare with the clean run.
AGAINST_CLEAN = (statistic_pb2.STATISTIC_RELATIVE_L2, statistic_pb2.STATISTIC_COSINE)


def allowed(site: int, operation: str) -> bool:
    """Whether the contract has the operation at the site."""
    match operation:
        case "knockout":
            return site == site_pb2.SITE_ATTN_SCORES
        case "mean":
            return site != site_pb2.SITE_ATTN_SCORES
        case "project_out":
            return site not in places.ATTENTION_SITES
    return True


def measurable(statistic: int, site: int, keep: Container[int]) -> bool:
    """Whether the contract has the statistic at the site, with these axes kept."""
    if statistic == statistic_pb2.STATISTIC_ENTROPY:
        return site == site_pb2.SITE_PATTERN and site_pb2.AXIS_KEY not in keep
    if statistic == statistic_pb2.STATISTIC_MEAN_L2_NORM:
        return site != site_pb2.SITE_ATTN_SCORES and places.facts(site).axes[-1] not in keep
    return True
