"""Random valid requests: a seeded generator of prompts, selectors, operations, statistics, captures
and outputs."""

import numpy as np

from tests.parity import places
from tests.parity.meaning import EDITABLE_SITES, OPERATIONS, STATISTICS, allowed, measurable
from tests.parity.places import ModelShape
from tests.support.client import (
    intervention_pb2,
    observation_pb2,
    place_pb2,
    run_pb2,
    site_pb2,
    tensor_pb2,
)

_DTYPES = (
    tensor_pb2.DATA_TYPE_FLOAT32,
    tensor_pb2.DATA_TYPE_FLOAT16,
    tensor_pb2.DATA_TYPE_BFLOAT16,
)


class Specs:
    """One request in the making. The same seed makes the same request."""

    def __init__(
        self, shape: ModelShape, seed: int, prompts: int | None = None, length_max: int = 14
    ):
        self.rng = np.random.default_rng(seed)
        self.shape = shape
        count = prompts or int(self.rng.integers(1, 5))
        lengths = self.rng.integers(2, min(length_max, shape.n_ctx) + 1, size=count)
        if count > 2 and self.chance(0.5):
            lengths[1] = lengths[0]  # so that there is a batch of two
        self.tokens = [
            self.rng.integers(0, shape.vocab_size, size=length).tolist() for length in lengths
        ]
        self.request = run_pb2.RunRequest(seed=int(self.rng.integers(0, 2**64, dtype=np.uint64)))
        for ids in self.tokens:
            self.request.prompts.add().token_ids.ids.extend(ids)

    # ---- small choices

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def choose(self, options):
        return options[int(self.rng.integers(len(options)))]

    def subset(self, size: int, count: int | None = None) -> list[int]:
        """Ascending."""
        count = count or int(self.rng.integers(1, min(size, 5) + 1))
        return sorted(self.rng.choice(size, size=count, replace=False).tolist())

    def number(self, low: float, high: float) -> float:
        return float(np.float32(self.rng.uniform(low, high)))

    # ---- selectors

    def fill_indices(self, kind, size: int) -> None:
        """A range or a list over an axis of `size`, from either end."""
        if self.chance(0.5):
            start = int(self.rng.integers(0, size))
            kind.range.SetInParent()
            if self.chance(0.7):
                kind.range.start = start - size if self.chance(0.3) else start
            if self.chance(0.4):
                kind.range.end = int(self.rng.integers(start + 1, size + 1))
            if self.chance(0.4):
                kind.range.step = int(self.rng.integers(1, 4))
        else:
            indices = self.subset(size)
            self.rng.shuffle(indices)
            kind.indices.values.extend(i - size if self.chance(0.2) else i for i in indices)

    def fill_positions(self, positions: place_pb2.Positions, prompts: list[int]) -> None:
        """Positions that every one of the prompts has. In a longer one a range from the end to a
        fixed position may be empty, and two indices from either end the same."""
        while True:
            positions.Clear()
            if self.chance(0.25):
                positions.tokens.ids.extend(
                    sorted({self.choose(self.tokens[prompt]) for prompt in prompts})
                )
            else:
                self.fill_indices(positions, min(len(self.tokens[prompt]) for prompt in prompts))
            resolved = [places.resolve_positions(positions, self.tokens[p]) for p in prompts]
            if all(len(indices) and len(indices) == len(set(indices)) for indices in resolved):
                return

    def place(self, place: place_pb2.Place, site: int, narrow: float = 0.5) -> list[int]:
        """A random part of the site; `narrow` is how likely each field restricts it. Returns the
        prompts."""
        while True:
            place.Clear()
            prompts = self._fill_place(place, site, narrow)
            if self._selects_something(site, place.where, prompts):
                return prompts

    def _fill_place(self, place: place_pb2.Place, site: int, narrow: float) -> list[int]:
        known, where = places.facts(site), place.where
        prompts = list(range(len(self.tokens)))
        if self.chance(narrow):
            prompts = self.subset(len(prompts))
            where.prompts.extend(prompts)
        if known.per_layer and self.chance(max(narrow, 0.6)):
            where.layers.extend(self.subset(self.shape.n_layer))
        if site_pb2.AXIS_HEAD in known.axes and self.chance(narrow):
            where.heads.extend(self.subset(self.shape.n_head))
        if site_pb2.AXIS_UNIT in known.axes and self.chance(narrow):
            self.fill_indices(where.units, self.shape.units(site))
        if self.chance(narrow):
            self.fill_positions(where.positions, prompts)
        if site_pb2.AXIS_KEY in known.axes and self.chance(narrow):
            self.fill_positions(where.key_positions, prompts)
        self._name_site(place, site)
        return prompts

    def _name_site(self, place: place_pb2.Place, site: int) -> None:
        """By its number or one of its names."""
        known = places.facts(site)
        names = [places.site_name(site), *known.aliases]
        if self.chance(0.7):
            place.site = site
        elif len(place.where.layers) == 1 and self.chance(0.5):
            name, layer = self.choose(names), place.where.layers[0]
            hugging_face = ":" in name
            place.path = (
                f"transformer.h.{layer}" + ("" if name.startswith(":") else ".") + name
                if hugging_face
                else f"blocks.{layer}.{name}"
            )
            if name == places.site_name(site):
                place.path, place.site = "", site
            else:
                del place.where.layers[:]
        else:
            place.path = self.choose(names)

    def _selects_something(self, site: int, where: place_pb2.Selection, prompts: list[int]) -> bool:
        regions = [
            places.resolve_region(site, where, self.tokens[prompt], self.shape)
            for prompt in prompts
        ]
        if any(len(indices) == 0 for region in regions for indices in region):
            return False
        return site not in places.ATTENTION_SITES or all(
            places.causal(region).any() for region in regions
        )

    # ---- operations

    def add_intervention(
        self, site: int | None = None, operation: str | None = None, narrow: float = 0.5
    ) -> None:
        site = site or self.choose(EDITABLE_SITES)
        operation = operation or self.choose([name for name in OPERATIONS if allowed(site, name)])
        intervention = self.request.interventions.add()
        if self.chance(0.3):
            intervention.name = f"intervention {len(self.request.interventions)}"
        if operation == "patch":
            self._patch(intervention, site, narrow)
            return
        prompts = self.place(intervention.place, site, narrow)
        getattr(self, "_" + operation)(intervention, site, prompts)

    def _zero(self, intervention, site, prompts) -> None:
        intervention.zero.SetInParent()

    def _scale(self, intervention, site, prompts) -> None:
        lowest = (
            0.2 if site == site_pb2.SITE_ATTN_SCORES else -1.5
        )  # minus infinity times 0 is not a number
        intervention.scale.factor = self.number(lowest, 2.5)

    def _add(self, intervention, site, prompts) -> None:
        self._value(intervention.add, intervention.place, site, prompts)
        if self.chance(0.5):
            intervention.add.coefficient = self.number(-2, 2)

    def _set(self, intervention, site, prompts) -> None:
        self._value(intervention.set, intervention.place, site, prompts)

    def _noise(self, intervention, site, prompts) -> None:
        noise = intervention.noise
        noise.SetInParent()
        noise.mode = self.choose(intervention_pb2.NoiseMode.values())
        if self.chance(0.5):
            noise.mean = self.number(-1, 1)
        if self.chance(0.5):
            noise.std = self.number(0.1, 1.5)
        if self.chance(0.3):
            noise.seed = int(self.rng.integers(0, 2**63))

    def _clamp(self, intervention, site, prompts) -> None:
        both = self.chance(0.5)
        if both or self.chance(0.5):
            intervention.clamp.min = (
                self.number(-0.3, 0.1) if site != site_pb2.SITE_PATTERN else self.number(0.1, 0.3)
            )
        if both or not intervention.clamp.HasField("min"):
            intervention.clamp.max = self.number(0.3, 0.5)

    def _mean(self, intervention, site, prompts) -> None:
        intervention.mean.SetInParent()
        if self.chance(0.5):
            self.fill_positions(intervention.mean.over, prompts)

    def _project_out(self, intervention, site, prompts) -> None:
        region = self._region(intervention.place, site, prompts[0])
        self._tensor(intervention.project_out.direction, [len(region[-1])])
        if self.chance(0.5):
            intervention.project_out.factor = self.number(-1, 2)

    def _knockout(self, intervention, site, prompts) -> None:
        intervention.knockout.SetInParent()
        if self.chance(0.5):
            intervention.place.where.ClearField("positions")
            intervention.place.where.ClearField("key_positions")
            length = min(len(self.tokens[prompt]) for prompt in prompts)
            for _ in range(int(self.rng.integers(1, 4))):
                query = int(self.rng.integers(0, length))
                intervention.knockout.pairs.add(
                    query=query, key=int(self.rng.integers(0, query + 1))
                )

    def _region(self, place: place_pb2.Place, site: int, prompt: int) -> list[np.ndarray]:
        return places.resolve_region(site, place.where, self.tokens[prompt], self.shape)

    def _value(self, spec, place: place_pb2.Place, site: int, prompts: list[int]) -> None:
        """A constant, or a tensor that broadcasts to the selected part in every prompt."""
        shapes = [
            tuple(len(indices) for indices in self._region(place, site, prompt))
            for prompt in prompts
        ]
        if self.chance(0.3):
            spec.constant = self.number(-1, 1)
            return
        # Axes that differ between the prompts cannot be spelt out; others may, or may be broadcast.
        shape = [
            sizes[0] if len(set(sizes)) == 1 and self.chance(0.7) else 1
            for sizes in zip(*shapes, strict=True)
        ]
        self._tensor(spec.tensor, shape[int(self.rng.integers(0, len(shape))) :])

    def _tensor(self, tensor: tensor_pb2.Tensor, shape: list[int]) -> None:
        array = self.rng.normal(size=shape).astype(np.float32)
        if len(shape) > 1 or self.chance(0.5):
            tensor.shape.extend(shape)
        if self.chance(0.5) or not tensor.shape:
            tensor.values.extend(array.ravel().tolist())
        elif self.chance(0.5):
            tensor.dtype, tensor.data = tensor_pb2.DATA_TYPE_FLOAT32, array.astype("<f4").tobytes()
        elif self.chance(0.5):
            tensor.dtype, tensor.data = tensor_pb2.DATA_TYPE_FLOAT16, array.astype("<f2").tobytes()
        else:
            upper = array.view(np.uint32) >> 16
            tensor.dtype, tensor.data = tensor_pb2.DATA_TYPE_BFLOAT16, upper.astype("<u2").tobytes()

    def _patch(self, intervention, site: int, narrow: float) -> None:
        """Written positions are few and spelt out wherever the source could be too short for
        them."""
        place, patch = intervention.place, intervention.patch
        source = int(self.rng.integers(len(self.tokens)))
        others = [prompt for prompt in range(len(self.tokens)) if prompt != source]
        clean = not others or self.chance(0.4)
        prompts = self.place(place, site, narrow)
        if clean:
            patch.clean_prompt = source
        else:
            patch.prompt = source
            prompts = sorted(
                self.rng.choice(
                    others, size=int(self.rng.integers(1, len(others) + 1)), replace=False
                ).tolist()
            )
        place.where.prompts[:] = prompts
        length = min(len(self.tokens[prompt]) for prompt in [*prompts, source])
        self._map_positions(place, patch, site, length, len(self.tokens[source]))
        self._map_heads_and_layer(place, patch, site)

    def _map_positions(self, place, patch, site: int, length: int, source_length: int) -> None:
        count = int(self.rng.integers(1, length + 1))
        written = self.subset(length, count)
        place.where.positions.Clear()
        place.where.positions.indices.values.extend(written)
        if self.chance(0.4):
            patch.positions.indices.values.extend(self.subset(source_length, count))
        if site in places.ATTENTION_SITES:
            keys = sorted({0, *self.subset(length)})
            place.where.key_positions.Clear()
            place.where.key_positions.indices.values.extend(keys)
            if self.chance(0.4):
                patch.key_positions.indices.values.extend(self.subset(source_length, len(keys)))

    def _map_heads_and_layer(self, place, patch, site: int) -> None:
        known = places.facts(site)
        if site_pb2.AXIS_HEAD in known.axes and self.chance(0.5):
            heads = self.subset(self.shape.n_head)
            place.where.heads[:] = heads
            patch.heads.extend(self.subset(self.shape.n_head, len(heads)))
        if known.per_layer and self.chance(0.3):
            resolved = places.resolve_place(place, self.shape, len(self.tokens))
            patch.layer = int(self.rng.integers(0, min(resolved.layers) + 1))

    # ---- what comes back

    def add_probe(self, site: int | None = None, statistics=None) -> None:
        site = site or self.choose(places.ALL_SITES)
        probe = self.request.probes.add(moment=self.choose(site_pb2.Moment.values()))
        self.place(probe.place, site)
        axes = list(places.facts(site).axes)
        if self.chance(0.5):
            options = [site_pb2.AXIS_HEAD] if site == site_pb2.SITE_ATTN_SCORES else axes
            probe.keep.extend(
                self.rng.choice(
                    options, size=int(self.rng.integers(1, len(options) + 1)), replace=False
                ).tolist()
            )
        wanted = (
            statistics
            or self.rng.choice(
                STATISTICS, size=int(self.rng.integers(1, 6)), replace=False
            ).tolist()
        )
        probe.statistics.extend(
            statistic for statistic in wanted if measurable(statistic, site, probe.keep)
        )
        if site != site_pb2.SITE_ATTN_SCORES and self.chance(
            0.4
        ):  # between infinities nothing can be interpolated
            probe.quantiles.extend(sorted({0.0, round(float(self.rng.random()), 3), 1.0}))
        if self.chance(0.4) or not (probe.statistics or probe.quantiles):
            low = self.number(-2, 0.5)
            probe.histogram.MergeFrom(
                observation_pb2.Histogram(
                    bins=int(self.rng.integers(1, 12)), min=low, max=low + self.number(0.1, 3)
                )
            )

    def add_capture(
        self, site: int | None = None, moment: int | None = None, narrow: float = 0.3
    ) -> None:
        site = site or self.choose(places.ALL_SITES)
        capture = self.request.captures.add(
            moment=self.choose(site_pb2.Moment.values()) if moment is None else moment
        )
        self.place(capture.place, site, narrow)
        capture.dtype = _DTYPES[0] if self.chance(0.8) else self.choose(_DTYPES)

    def outputs(self) -> None:
        request = self.request
        request.include_clean_run = self.chance(0.3)
        request.output_attentions = self.chance(0.3)
        request.output_hidden_states = self.chance(0.3)
        if self.chance(0.3):
            request.block_outputs.SetInParent()
            if self.chance(0.5):
                request.block_outputs.layers.extend(self.subset(self.shape.n_layer))
        self._logits()

    def _logits(self) -> None:
        logits = self.request.logits
        if self.chance(0.5):
            self.fill_positions(logits.positions, list(range(len(self.tokens))))
        match self.choose(("full", "full", "top_k", "ids", "none", "absent")):
            case "full":
                logits.full.SetInParent()
            case "top_k":
                logits.top_k.k = int(self.rng.integers(1, 20))
            case "ids":
                logits.ids.ids.extend(self.rng.choice(self.shape.vocab_size, size=5).tolist())
            case "none":
                logits.none.SetInParent()

    def composition(self) -> run_pb2.RunRequest:
        """One to five interventions, a few probes and captures, and any outputs."""
        for _ in range(int(self.rng.integers(1, 6))):
            self.add_intervention()
        for _ in range(int(self.rng.integers(1, 5))):
            self.add_probe()
        for _ in range(int(self.rng.integers(1, 5))):
            self.add_capture()
        self.outputs()
        return self.request
