"""What a place of a request means, in plain indices: the twin's own reading of the selector,
independent of the server's."""

import dataclasses
import re
from collections.abc import Sequence

import numpy as np

from tests.support.client import model_pb2, place_pb2, site_pb2

NO_LAYER = -1
ATTENTION_SITES = (site_pb2.SITE_ATTN_SCORES, site_pb2.SITE_PATTERN)
# Q, K and V are views of QKV: what happens at the four happens at one place.
FUSED_SITES = (site_pb2.SITE_QKV, site_pb2.SITE_Q, site_pb2.SITE_K, site_pb2.SITE_V)
ALL_SITES = tuple(
    number for number in site_pb2.Site.values() if number != site_pb2.SITE_UNSPECIFIED
)

_IN_BLOCK = re.compile(r"(?:blocks|transformer\.h)\.(\d+)\.?(.*)")


@dataclasses.dataclass(frozen=True)
class ModelShape:
    """The lengths of a model's axes."""

    n_layer: int
    n_head: int
    d_model: int
    d_mlp: int
    n_ctx: int
    vocab_size: int

    @property
    def d_head(self) -> int:
        return self.d_model // self.n_head

    def units(self, site: int) -> int:
        """Length of the site's AXIS_UNIT."""
        return {
            site_pb2.UNIT_AXIS_D_MODEL: self.d_model,
            site_pb2.UNIT_AXIS_QKV: 3 * self.d_model,
            site_pb2.UNIT_AXIS_D_HEAD: self.d_head,
            site_pb2.UNIT_AXIS_D_MLP: self.d_mlp,
            site_pb2.UNIT_AXIS_VOCAB: self.vocab_size,
            site_pb2.UNIT_AXIS_ONE: 1,
        }[facts(site).unit_axis]


def shape_of_config(config) -> ModelShape:
    """From a HuggingFace config, or its JSON as a dict."""
    get = (
        config.get
        if isinstance(config, dict)
        else lambda name, default=None: getattr(config, name, default)
    )
    return ModelShape(
        n_layer=get("n_layer"),
        n_head=get("n_head"),
        d_model=get("n_embd"),
        d_mlp=get("n_inner") or 4 * get("n_embd"),
        n_ctx=get("n_positions"),
        vocab_size=get("vocab_size"),
    )


def shape_of_model(model: model_pb2.GetModelResponse) -> ModelShape:
    """From what a server says about its model."""
    config = model.config
    return ModelShape(
        n_layer=config.n_layer,
        n_head=config.n_head,
        d_model=config.d_model,
        d_mlp=config.d_mlp,
        n_ctx=config.n_ctx,
        vocab_size=config.vocab_size,
    )


def facts(site: int) -> site_pb2.SiteFacts:
    return site_pb2.Site.DESCRIPTOR.values_by_number[site].GetOptions().Extensions[site_pb2.site]


def site_name(site: int) -> str:
    return site_pb2.Site.Name(site).removeprefix("SITE_").lower()


def visited_at(site: int) -> int:
    """The site by which the place is known where interventions meet."""
    return site_pb2.SITE_QKV if site in FUSED_SITES else site


@dataclasses.dataclass(frozen=True)
class Place:
    """A resolved place: `layers` is (NO_LAYER,) at a site without layers."""

    site: int
    layers: tuple[int, ...]
    prompts: tuple[int, ...]
    where: place_pb2.Selection


def resolve_place(place: place_pb2.Place, shape: ModelShape, prompts: int) -> Place:
    site, layer = (place.site, None) if place.site else resolve_path(place.path)
    layers = (NO_LAYER,)
    if facts(site).per_layer:
        layers = (
            (layer,)
            if layer is not None
            else tuple(place.where.layers) or tuple(range(shape.n_layer))
        )
    return Place(site, layers, tuple(place.where.prompts) or tuple(range(prompts)), place.where)


def resolve_path(path: str) -> tuple[int, int | None]:
    """A name of any of the three schemes: the site, and the layer if the name has one."""
    layer, name = None, path
    if match := _IN_BLOCK.fullmatch(path):
        layer, name = int(match.group(1)), match.group(2)
    for site in ALL_SITES:
        known = facts(site)
        if name in (site_name(site), *known.aliases) and (layer is None or known.per_layer):
            return site, layer
    raise ValueError(f"{path!r} names no site")


def resolve_region(
    site: int, where: place_pb2.Selection, tokens: Sequence[int], shape: ModelShape
) -> list[np.ndarray]:
    """The selected indices along each axis of the site, in the order said."""
    positions = where.positions if where.HasField("positions") else None
    keys = where.key_positions if where.HasField("key_positions") else None
    axes = []
    for axis in facts(site).axes:
        if axis in (site_pb2.AXIS_POSITION, site_pb2.AXIS_QUERY):
            axes.append(resolve_positions(positions, tokens))
        elif axis == site_pb2.AXIS_KEY:
            axes.append(resolve_positions(keys, tokens))
        elif axis == site_pb2.AXIS_HEAD:
            axes.append(np.array(list(where.heads) or range(shape.n_head)))
        else:
            axes.append(
                _resolve_units(where.units if where.HasField("units") else None, shape.units(site))
            )
    return axes


def resolve_positions(positions: place_pb2.Positions | None, tokens: Sequence[int]) -> np.ndarray:
    if positions is None:
        return np.arange(len(tokens))
    if positions.WhichOneof("kind") == "tokens":
        return np.array(
            [at for at, token in enumerate(tokens) if token in set(positions.tokens.ids)]
        )
    return _resolve_units(positions, len(tokens))


def _resolve_units(units, size: int) -> np.ndarray:
    if units is None:
        return np.arange(size)
    if units.WhichOneof("kind") == "range":
        given = units.range
        start = given.start if given.HasField("start") else 0
        end = given.end if given.HasField("end") else size
        return np.arange(size)[start : end : given.step if given.HasField("step") else 1]
    return np.arange(size)[list(units.indices.values)]


def causal(region: list[np.ndarray]) -> np.ndarray:
    """For a region [head, query, key]: where key <= query, as [queries, keys]."""
    return region[2][None, :] <= region[1][:, None]
