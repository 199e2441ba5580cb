"""The study as a page."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from scalpel.report import common, parts
from scalpel.report.figures import Figure
from scalpel.report.page import page
from scalpel.report.parts import Html
from scalpel.report.run_report import top_tokens
from scalpel.report.statistics_part import probe_figures, table
from scalpel.report.tensors_part import block_output_figures, capture_figures
from scalpel.study import experiments, readings
from scalpel.study.language import percent, token_name

if TYPE_CHECKING:
    from scalpel.model import Model
    from scalpel.run_result import RunResult
    from scalpel.study.experiments import Setting

TITLE = "Six experiments inside {}"
# Figures, and paragraphs about them.
Story = tuple[Figure | str, ...]


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One of the six: what is done, what came of it, and how it reads."""

    title: str
    """A few words."""
    done: str
    """What is asked of the server."""
    runs: tuple[RunResult, ...]
    """The answers; the last is the one that is read."""
    story: Story
    """Figures, and after each what it shows."""

    @property
    def reading(self) -> list[str]:
        """The paragraphs."""
        return [part for part in self.story if isinstance(part, str)]

    def to_html(self) -> Html:
        """A section of the page."""
        run = self.runs[-1]
        more: list[Html] = []
        for index, probe in enumerate(run.normalized.probes):
            own = [result for result in run.stats if result.index == index]
            more += [parts.element("h4", probe.name), table(own)]
        more += top_tokens(run, heading="h4")
        shown = [
            parts.paragraph(part) if isinstance(part, str) else parts.figure(part)
            for part in (self.done, *self.story)
        ]
        numbers = parts.details("the numbers", parts.join(more))
        requests = [
            parts.details("the request", common.request_code(one.request)) for one in self.runs
        ]
        return parts.section(self.title, *shown, numbers, *requests)


def six(model: Model) -> list[Experiment]:
    """Runs the six experiments: one call each, but for the output tuple, which is asked twice."""
    at = experiments.setting(model.info)
    return [
        _zero_keys(model, at),
        _noise_neurons(model, at),
        _scale_block(model, at, "A block's output scaled down", 0.1),
        _scale_block(model, at, "A block's output scaled up", 10.0),
        _block_output(model, at),
        _std_by_layer(model, at),
    ]


def _zero_keys(model: Model, at: Setting) -> Experiment:
    run = experiments.zero_keys(model, at)
    done = f"The keys of head {at.head} in layer {at.head_layer} are set to zero, inside the fused"
    done += " projection of queries, keys and values."
    weights, entropies = readings.zero_keys(run, at)
    pattern, entropy = capture_figures(run, "pattern"), probe_figures(run, "entropy")
    story: Story = (*pattern, weights, *entropy, entropies)
    return Experiment("A head without keys", done, (run,), story)


def _noise_neurons(model: Model, at: Setting) -> Experiment:
    run = experiments.noise_neurons(model, at)
    done = f"After the activation function of layer {at.noise_layer}, every second neuron is"
    done += " replaced by noise."
    neurons, output = readings.noise_neurons(run, at)
    story: Story = (neurons, *probe_figures(run, "block output"), output)
    return Experiment("Neurons of noise", done, (run,), story)


def _scale_block(model: Model, at: Setting, title: str, factor: float) -> Experiment:
    run = experiments.scale_block(model, at, factor)
    done = f"The output of block {at.scale_layer}, the residual stream, is multiplied by"
    done += f" {factor:g}."
    story: Story = (*probe_figures(run, "block output"), *readings.scale_block(run, at, factor))
    return Experiment(title, done, (run,), story)


def _block_output(model: Model, at: Setting) -> Experiment:
    plain = experiments.block_output(model, at, attentions=False)
    full = experiments.block_output(model, at, attentions=True)
    done = f"Nothing is changed: block {at.scale_layer} is asked for its output as HuggingFace"
    done += " transformers returns it, without and with attentions."
    tuples, weights = readings.block_output(plain, full, at)
    story: Story = (tuples, *block_output_figures(full, "attentions"), weights)
    return Experiment("A block's output tuple", done, (plain, full), story)


def _std_by_layer(model: Model, at: Setting) -> Experiment:
    run = experiments.std_by_layer(model, at)
    done = f"What the MLP of block {at.mlp_layer} writes is multiplied by"
    done += f" {experiments.MLP_FACTOR:g}, in two prompts at once."
    story: Story = (*probe_figures(run, "block output"), *readings.std_by_layer(run, at))
    return Experiment("Standard deviation by layer", done, (run,), story)


def study_page(model: Model) -> str:
    """Runs the six experiments, and writes what came of them: each sentence follows from the
    answers."""
    found = six(model)
    prompts = found[-1].runs[-1].prompts
    sections = [
        parts.section("At a glance", _summary(found)),
        common.prompts("Prompts", prompts),
        *(experiment.to_html() for experiment in found),
    ]
    info = model.info
    return page(TITLE.format(info.name), parts.facts(common.model_facts(info)), sections)


def _summary(found: Sequence[Experiment]) -> Html:
    rows = [[experiment.title, *_effect(experiment.runs[-1])] for experiment in found]
    header = ("experiment", "largest change", "next token, clean", "edited")
    note = "The largest change of a number where it is edited, and the most probable next token of "
    note += "the first prompt."
    return parts.join([parts.table(header, rows), parts.element("p", note, class_="note")])


def _effect(run: RunResult) -> list[Any]:
    def top(clean: bool) -> str:
        token = run.top(clean=clean)[0]
        return f"{token_name(token)} {percent(token.prob)}"

    if not run.reports:
        return [None, top(False), "not edited"]
    return [run.reports[0].max_abs_change, top(True), top(False)]
