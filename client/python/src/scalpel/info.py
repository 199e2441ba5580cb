"""What a server holds and accepts, and how it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scalpel import display
from scalpel.spec import enum_name
from scalpel.v1 import limits_pb2, model_pb2, server_status_pb2, site_pb2, statistic_pb2

if TYPE_CHECKING:
    import pandas


class SiteInfo:
    """A site of the served model."""

    def __init__(self, message: model_pb2.SiteInfo):
        self.proto = message

    @property
    def name(self) -> str:
        """Such as `resid_post`."""
        return self.proto.name

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the axes, in order."""
        axes = self.proto.facts.axes
        return tuple(enum_name(site_pb2.Axis, "AXIS_", axis) for axis in axes)

    @property
    def unit_size(self) -> int:
        """The length of the axis `unit`; 0 where there is none."""
        return self.proto.unit_size

    @property
    def per_layer(self) -> bool:
        """Whether every layer has one."""
        return self.proto.facts.per_layer

    @property
    def editable(self) -> bool:
        """Whether it can be edited, not only observed."""
        return self.proto.facts.editable

    @property
    def aliases(self) -> tuple[str, ...]:
        """Its names in TransformerLens and in HuggingFace transformers."""
        return tuple(self.proto.facts.aliases)

    def __repr__(self) -> str:
        return f"<SiteInfo {self.name} [{', '.join(self.axes)}]>"


class ModelInfo:
    """The served model, and what a request to it may say. A snapshot: `model.get_info()` asks
    again."""

    def __init__(self, message: model_pb2.GetModelResponse):
        self.proto = message

    @property
    def name(self) -> str:
        """The name that requests may give."""
        return self.proto.model

    @property
    def config(self) -> model_pb2.ModelConfig:
        """`.n_layer`, `.n_head`, `.d_model`, `.d_head`, `.d_mlp`, `.n_ctx`, `.vocab_size` and other
        fields of the configuration that change the maths."""
        return self.proto.config

    @property
    def limits(self) -> limits_pb2.Limits:
        """The most that a request may ask for, such as `.max_tokens`."""
        return self.proto.limits

    @property
    def sites(self) -> dict[str, SiteInfo]:
        """Every site by name, in order of computation."""
        return {site.name: SiteInfo(site) for site in self.proto.sites}

    @property
    def operations(self) -> tuple[str, ...]:
        """Operations that the server implements, by the contract's names."""
        return tuple(self.proto.operations)

    @property
    def statistics(self) -> tuple[str, ...]:
        """Statistics that the server implements."""
        numbers = self.proto.statistics
        return tuple(enum_name(statistic_pb2.Statistic, "STATISTIC_", number) for number in numbers)

    @property
    def device(self) -> str:
        """`cpu` or `cuda:0`."""
        return self.proto.device

    @property
    def server_version(self) -> str:
        """The server's version."""
        return self.proto.server_version

    @property
    def weights_sha256(self) -> str:
        """SHA-256 of the weight files."""
        return self.proto.weights_sha256

    @property
    def has_tokenizer(self) -> bool:
        """False: prompts are token ids."""
        return self.proto.has_tokenizer

    @property
    def tokenizer_problem(self) -> str:
        """Why there is no tokenizer; empty where there is one."""
        return self.proto.tokenizer_problem

    @property
    def cache(self) -> model_pb2.BaselineCache:
        """The cache of clean runs: `.bytes`, `.hits`, `.misses` and others. The counts are 0 where
        `.scope` says that each caller has a cache of its own."""
        return self.proto.baseline_cache

    def sites_to_pandas(self) -> pandas.DataFrame:
        """One row for each site: name, axes, unit_size, per_layer, editable, aliases. Needs
        pandas."""
        import pandas

        names = ("name", "axes", "unit_size", "per_layer", "editable", "aliases")
        rows = [{name: getattr(site, name) for name in names} for site in self.sites.values()]
        return pandas.DataFrame(rows)

    def to_text(self) -> str:
        """For a terminal: the model, its sites and limits."""
        config, limits = self.config, self.limits
        lines = [
            f"{self.name}: {config.model_type}, {config.n_layer} layers, {config.n_head} heads, "
            f"d_model {config.d_model}, d_mlp {config.d_mlp}, n_ctx {config.n_ctx}, "
            f"vocabulary {config.vocab_size}",
            f"on {self.device} ({self.proto.kernels}, {self.proto.threads} threads), "
            f"server {self.server_version}, weights {self.weights_sha256[:16]}",
            f"operations: {', '.join(self.operations)}",
            f"statistics: {', '.join(self.statistics)}",
            f"limits: {limits.max_tokens} tokens, {limits.max_prompts} prompts, "
            f"{limits.max_variants} variants, {limits.max_response_bytes} response bytes",
            "",
        ]
        for site in self.sites.values():
            about = ("" if site.per_layer else ", once") + ("" if site.editable else ", observe")
            axes = ", ".join(site.axes)
            aliases = "  ".join(site.aliases)
            lines.append(f"{site.name:12} [{axes}] unit {site.unit_size}{about}  {aliases}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        config = self.config
        return (
            f"<ModelInfo {self.name}: {config.n_layer} layers x {config.n_head} heads, "
            f"d_model {config.d_model}, {self.device}, server {self.server_version}>"
        )

    def _repr_html_(self) -> str:
        rows = [
            [
                f"<code>{display.text(site.name)}</code>",
                display.text(", ".join(site.axes)),
                display.text(site.unit_size),
                "each" if site.per_layer else "",
                "edit, observe" if site.editable else "observe",
                display.text(", ".join(site.aliases)),
            ]
            for site in self.sites.values()
        ]
        names = ("site", "axes", "units", "layer", "", "also called")
        sites = display.folded(f"{len(rows)} sites", display.table(names, rows))
        return display.title(repr(self)) + sites


class ServerStatus:
    """How the server is. A snapshot: `model.status()` asks again. Everything that the server says
    is in `proto`, a `scalpel.v1.server_status_pb2.GetStatusResponse`; a rate is the difference of
    two counters by that of `uptime`."""

    def __init__(self, message: server_status_pb2.GetStatusResponse):
        self.proto = message

    @property
    def state(self) -> str:
        """`loading`, `serving` or `draining`."""
        return enum_name(server_status_pb2.ServerState, "SERVER_STATE_", self.proto.state)

    @property
    def uptime(self) -> float:
        """Seconds since the server started."""
        return self.proto.uptime_us * 1e-6

    @property
    def calls(self) -> dict[str, int]:
        """Calls under way, by method."""
        return {method.method: method.calls for method in self.proto.methods}

    @property
    def callers(self) -> dict[str, int]:
        """Calls under way, by who makes them."""
        return {caller.name: caller.calls for caller in self.proto.callers}

    @property
    def rejections(self) -> dict[str, int]:
        """How much was turned away since the start, by reason."""
        return {one.reason: one.count for one in self.proto.rejections}

    @property
    def engine(self) -> server_status_pb2.EngineStatus:
        """`.queued` and `.running` calls now; `.waves`, `.rows`, `.tokens`, `.tokens_computed`,
        `.flops`, `.flops_computed` and `.busy_us` since the start."""
        return self.proto.engine

    def __repr__(self) -> str:
        engine, under_way = self.proto.engine, sum(self.calls.values())
        return (
            f"<ServerStatus {self.state}, up {self.uptime:.0f} s, {under_way} calls under way, "
            f"{engine.queued} queued, {engine.running} running>"
        )
