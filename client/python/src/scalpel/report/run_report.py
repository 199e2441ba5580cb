"""The report of a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from scalpel import contents
from scalpel.errors import InvalidArgument
from scalpel.events import Started, SweepStarted, TokenLogit
from scalpel.report import common, parts, words
from scalpel.report.page import page
from scalpel.report.parts import Html
from scalpel.report.statistics_part import statistics
from scalpel.report.tensors_part import block_outputs, captures, hidden_states
from scalpel.token_text import named, quoted
from scalpel.v1 import sweep_pb2

if TYPE_CHECKING:
    import numpy.typing as npt

    from scalpel.info import ModelInfo
    from scalpel.run_result import RunResult

# Token ids to text.
Decode = Callable[[Sequence[int]], str]
_FULL_SHOWN = 10


def run_report(run: RunResult, info: ModelInfo, title: str, decode: Decode | None = None) -> str:
    """A page about a run. `decode` names the tokens of full logits."""
    sections = [
        common.prompts("Prompts" if len(run.prompts) > 1 else "Prompt", run.prompts),
        interventions(run),
        predictions(run, decode),
        statistics(run),
        captures(run),
        block_outputs(run),
        hidden_states(run),
        common.request(run.request),
    ]
    not_finite = str(run.first_non_finite or "")
    lead = common.lead(info, run.digest, run.cost, run.finished, not_finite)
    return page(title, lead, [section for section in sections if section])


def plan_report(
    started: Started | SweepStarted, request: common.Request, info: ModelInfo, title: str
) -> str:
    """A page about a request that was only validated: what it would be, and cost."""
    text = f"Nothing ran: the request is valid, and would compute {started.cost.rows} rows of "
    text += f"{started.cost.tokens:,} tokens and answer with at most "
    text += f"{started.cost.response_bytes:,} bytes."
    sections = [
        common.prompts("Prompts" if len(started.prompts) > 1 else "Prompt", started.prompts),
        _planned(request),
        parts.section("Cost", parts.paragraph(text)),
        common.request(request, is_open=True),
    ]
    lead = common.lead(info, started.digest, started.cost, None)
    return page(title, lead, [section for section in sections if section])


def _planned(request: common.Request) -> Html:
    if isinstance(request, sweep_pb2.SweepRequest):
        table = common.interventions(request.grid.interventions, varied=True)
    elif not request.interventions:
        return Html()
    else:
        table = common.interventions(request.interventions)
    return parts.section("Interventions", table)


def interventions(run: RunResult) -> Html:
    """What was done, and what it did."""
    if not run.reports:
        return Html()
    asked = run.request.interventions
    rows: list[list[parts.Cell]] = [
        [name, words.place(asked[index].place), words.operation(asked[index]), *did]
        for index, (name, *did) in ((one.index, contents.report_row(one)) for one in run.reports)
    ]
    first, *others = contents.REPORT_HEADER
    header = (first, "where", "what", *others)
    return parts.section("Interventions", parts.table(header, rows))


def predictions(run: RunResult, decode: Decode | None = None) -> Html:
    """The next token, clean and edited beside each other."""
    shown = [*top_tokens(run), *_full_logits(run, decode)]
    return parts.section("Predictions", *shown) if shown else Html()


def top_tokens(run: RunResult, heading: str = "h3") -> list[Html]:
    """Decoded logits, by prompt and position."""
    shown = []
    for (prompt, position), pair in contents.beside_each_other(run.predictions).items():
        shown.append(parts.element(heading, _where(run, prompt, position)))
        columns = [(common.run_name(run, one.clean), parts.prediction(one.tokens)) for one in pair]
        shown.append(parts.columns(columns))
    return shown


def _full_logits(run: RunResult, decode: Decode | None) -> list[Html]:
    shown = []
    for tensor in run.tensors:
        if tensor.kind == "logits":
            heading = f"{common.run_name(run, tensor.clean)}, prompt {tensor.prompts[0]}"
            note = f"{tensor.shape[0]} positions of {tensor.shape[1]:,} logits; the last one's:"
            shown.append(parts.element("h3", heading))
            shown.append(parts.element("p", note, class_="note"))
            shown.append(parts.prediction(_largest(tensor.numpy()[-1], decode)))
    return shown


def _where(run: RunResult, prompt: int, position: int) -> str:
    read = run.prompts[prompt]
    after = f" after {quoted(read.tokens[position], read.ids[position])}" if read.tokens else ""
    return f"prompt {prompt}, position {position}: the next token{after}"


def _largest(logits: npt.NDArray[Any], decode: Decode | None) -> list[TokenLogit]:
    wide = logits.astype(np.float64)
    if np.isnan(wide).any():  # There is no order, as the server says of its top_k.
        return [TokenLogit(-1, "", math.nan, math.nan)]
    log_probs = wide - wide.max() - np.log(np.sum(np.exp(wide - wide.max())))
    order = np.argsort(-wide, kind="stable")[:_FULL_SHOWN]
    return [
        TokenLogit(i, _decoded(i, decode), float(wide[i]), float(log_probs[i]))
        for i in map(int, order)
    ]


def _decoded(token_id: int, decode: Decode | None) -> str:
    try:
        return decode([token_id]) if decode else ""
    except InvalidArgument:  # An id that the tokenizer does not have.
        return named(token_id)
