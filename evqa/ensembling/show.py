"""An ensemble on the terminal: the honest number first, then what it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.box import SIMPLE
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from evqa.config.metric_names import with_groups
from evqa.ensembling.combination import Combination
from evqa.ensembling.gain import SAME
from evqa.ensembling.judgement import Judgement
from evqa.ensembling.members import Matrix, Members
from evqa.files.terminal import terminal
from evqa.metrics import Difference, Estimate, Evaluation, holm
from evqa.metrics.correlation import is_constant

HELD = (  # docs/statistics.md
    "In simulations intervals of a gain held the true one in 87 to 100 % (60 items) and 91 to 100 % (300 items)."
)
NUMBERS_WIDTH = 58  # of the columns beside a member's name
CORRELATION_WIDTH = 6  # of a column of correlations, at most
SPREAD_RATIO = 3.0  # members whose scores spread this much more than others' dominate a plain mean


def show(
    members: Members,
    combination: Combination,
    judgement: Judgement | None,
    *,
    notes: Sequence[str],
    written: Sequence[Path],
    console: Console | None = None,
) -> None:
    """Print tables and what was written."""
    console = console or terminal(soft_wrap=False)
    if judgement is not None:
        console.print(_headline(combination, judgement))
        if judgement.methods:
            console.print(_methods(judgement))
        console.print(_members(combination, judgement, room=console.width - NUMBERS_WIDTH))
        console.print(_errors(judgement, width=console.width))
    else:
        console.print(
            f"{len(members.ids)} items, {len(members.names)} members, {combination.method}; no labels to judge by."
        )
    for note in [*notes, *_warnings(members, combination)]:
        console.print(f"Note: {note}")
    for path in written:
        console.print(f"Wrote {path}", soft_wrap=True)
    console.print(f"Checked: {len(members.ids)} ids, each once, every score finite, column '{members.label}'.")


def _headline(combination: Combination, judgement: Judgement) -> Group:
    table = _table("", "challenge", "95 % interval", "p", "SROCC", "PLCC")
    size = with_groups(judgement.ensemble.n, judgement.ensemble.num_groups)
    table.title = f"Ensemble '{combination.method}' of {len(combination.members)}, n = {size}"
    table.add_row(Text("ensemble", "bold"), *_numbers(judgement.ensemble))
    if judgement.chosen is not None:
        table.add_row("best member", *_numbers(judgement.chosen))
    table.add_row(Text("gain over best member", "bold"), *_difference(judgement.gain))
    how = judgement.gain.reason if judgement.chosen is None else "chosen out of fold"
    said = [
        f"Ensemble: {judgement.honest}. Best member: {how}; on all labels it is {judgement.best}.",
        "challenge: 0.6 SROCC + 0.4 PLCC.",
    ]
    if judgement.fitted is not None:
        table.add_row(Text("too good", "dim"), *_numbers(judgement.fitted))
        said.insert(1, "Too good: scored on the labels that the weights were fitted on.")
    if judgement.gain.reason and judgement.chosen is not None:
        said.append(f"No interval of the gain: {judgement.gain.reason}.")
    return Group(table, "", " ".join(said))


def _methods(judgement: Judgement) -> Group:
    table = _table("method", "challenge", "95 % interval", "gain", "95 % interval", "p")
    table.title = "\nEvery method: honest score, and gain over the best member"
    for name, (evaluation, gain) in judgement.methods.items():
        table.add_row(name, *_numbers(evaluation)[:2], *_difference(gain))
    said = ["A method that is chosen by this table is chosen on these labels: no honest score is left."]
    if any(not gain.reason for _, gain in judgement.methods.values()):
        said.append(HELD)
    if any(gain.reason == SAME for _, gain in judgement.methods.values()):
        said.append(f"No interval of a gain: {SAME}.")
    return Group(table, "", " ".join(said))


def _members(combination: Combination, judgement: Judgement, *, room: int) -> Group:
    """room: columns for the names; longer ones stand above the table."""
    table = _table("member", "weight", "challenge", "adds", "95 % interval", "p (Holm)")
    names = [f"{number} {name}" for number, name in enumerate(combination.members, start=1)]
    has_room = max(map(len, names)) <= room
    adjusted = holm([added.p for added in judgement.added])
    rows = zip(names, combination.shares(), judgement.members, judgement.added, adjusted, strict=True)
    for name, share, evaluation, added, p in rows:
        first = name if has_room else name.split()[0]
        table.add_row(first, f"{share:.3f}", _numbers(evaluation)[0], *_difference(replace(added, p=p)))
    title = Text("\nMembers, and what each adds to the ensemble of the others", "bold")
    return Group(title, *([] if has_room else names), table)


def _errors(judgement: Judgement, *, width: int) -> Group:
    """How errors correlate; of too many members for the width the extremes."""
    matrix_MM, num_members = judgement.error_correlation_MM, len(judgement.members)
    title = Text("\nErrors' correlation (1: the same mistakes)", "bold")
    if CORRELATION_WIDTH * (num_members + 1) > width:
        return Group(title, _extremes(matrix_MM))
    numbers = [str(place) for place in range(1, num_members + 1)]
    table = _table("", *numbers)
    for number, row in zip(numbers, matrix_MM, strict=True):
        table.add_row(number, *("-" if np.isnan(value) else f"{value:.2f}" for value in row))
    return Group(title, table)


def _extremes(matrix_MM: Matrix) -> str:
    pairs = [(row, column) for row, column in np.ndindex(matrix_MM.shape) if row < column]
    known = sorted((matrix_MM[pair], pair) for pair in pairs if not np.isnan(matrix_MM[pair]))
    if not known:
        return "There is none."
    ends = [f"{value:.2f} (members {row + 1} and {column + 1})" for value, (row, column) in (known[0], known[-1])]
    median = np.median([value for value, _ in known])
    return f"From {' to '.join(ends)}, median {median:.2f}; all stand in the JSON file (error_correlation)."


def _table(first: str, *columns: str) -> Table:
    table = Table(box=SIMPLE, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)  # fits into 80 columns
    table.title_justify, table.title_style = "left", "bold"
    table.add_column(first, overflow="fold")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _numbers(evaluation: Evaluation) -> tuple[str, ...]:
    values = [evaluation.metrics[name] for name in ("challenge", "srocc", "plcc")]
    text, srocc, plcc = ("none" if np.isnan(value.value) else f"{value.value:.4f}" for value in values)
    return text, _ends(values[0], ".4f"), "", srocc, plcc


def _difference(difference: Difference) -> tuple[str, ...]:
    if difference.reason:
        return (f"{difference.value:+.4f}", "none", "") if difference.reason == SAME else ("none", "", "")
    return f"{difference.value:+.4f}", _ends(difference, "+.4f"), f"{difference.p:.2g}"


def _ends(estimate: Estimate | Difference, form: str) -> str:
    return "" if np.isnan(estimate.low) else f"{estimate.low:{form}} to {estimate.high:{form}}"


def _warnings(members: Members, combination: Combination) -> list[str]:
    return [*_retired(members, combination), *_spreads(members, combination)]


def _retired(members: Members, combination: Combination) -> list[str]:
    flat = {name for name, scores_N in zip(members.names, members.scores_NM.T, strict=True) if is_constant(scores_N)}
    each = [f"{name} (constant)" if name in flat else name for name in combination.retired()]
    return [f"left out with weight 0: {', '.join(each)}."] if each else []


def _spreads(members: Members, combination: Combination) -> list[str]:
    spreads_M = members.scores_NM[:, np.flatnonzero(combination.weights)].std(axis=0)
    if combination.method != "mean" or spreads_M.max() <= SPREAD_RATIO * max(spreads_M.min(), 1e-300):
        return []
    kept = [name for name in members.names if name not in combination.retired()]
    each = ", ".join(f"{name} {spread:.3g}" for name, spread in zip(kept, spreads_M, strict=True))
    return [
        f"the members' scores spread differently (standard deviations: {each}); a plain mean follows the widest. "
        "rank_mean and weights do not mind."
    ]
