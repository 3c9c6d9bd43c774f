"""The table of settings for papers: as CSV and as LaTeX, with the digits of the report."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from evqa.config.metric_names import PRINTED
from evqa.files.whole import write_table
from evqa.reporting.document import BREAKS
from evqa.reporting.pages import settings_caption
from evqa.reporting.study import Study

MOST_AXES = 3  # with more of them a setting's name stands above its numbers
SPECIAL = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "{": r"\{",
        "}": r"\}",
        "#": r"\#",
        "$": r"\$",
        "%": r"\%",
        "&": r"\&",
        "_": r"\_",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        # Plain LaTeX prints these as other signs, or takes one at a row's beginning for an option of the row above.
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "[": "{[}",
        "*": "{*}",
    }
)
HEAD = "% Written by evqa report. Needs \\usepackage{booktabs}; table* in place of table spans two columns."


def write_settings_csv(path: Path, study: Study) -> None:
    """Write a row a setting: its value on each axis, seeds, n, and each metric with the SD of seeds and its interval.

    n is empty where labels are not at hand, a number where it does not exist; `reason` says why.
    """
    parts = ("", "_sd", "_low", "_high")
    columns = [
        *(study.axes or ["setting"]),
        "seeds",
        "n",
        *(name + part for name in PRINTED for part in parts),
        "reason",
    ]
    rows = []
    for one in study.settings:
        pooled = [one.metrics[name] for name in PRINTED]
        numbers = [_digits(number) for each in pooled for number in (each.mean, each.spread, each.low, each.high)]
        values = [one.values[axis] for axis in study.axes] or [one.name]
        rows.append([*values, len(one.runs), len(study.ids) or "", *numbers, one.metrics[study.metric].reason or ""])
    write_table(path, columns, rows)


def settings_tex(study: Study) -> str:
    """Write a table environment (booktabs): the best number of each column in bold where there are several settings.

    Where settings differ in many axes, their names stand above their numbers.
    """
    axes = [] if len(study.axes) > MOST_AXES else list(study.axes) or ["setting"]
    names = [study.metric, *(name for name in PRINTED if name != study.metric)]
    titles = [*axes, "seeds", PRINTED[study.metric], "SD", "95 % interval", *(PRINTED[name] for name in names[1:])]
    best = {name: _in_bold([one.metrics[name].mean for one in study.settings], name) for name in names}
    rows = list[str]()
    for place, one in enumerate(study.settings):
        pooled = one.metrics[study.metric]
        ends = "--" if math.isnan(pooled.low) else f"[{_signed(pooled.low)}, {_signed(pooled.high)}]"
        first, *others = (best[name][place] for name in names)
        numbers = [str(len(one.runs)), first, _signed(pooled.spread), ends, *others]
        if not axes:
            rows.append(_name_row(one.name, num_columns=len(numbers)))
        rows.append(_row([*(latex(one.values.get(axis, one.name)) for axis in axes), *numbers]))
    lines = [
        HEAD,
        r"\begin{table}",
        r"  \centering\footnotesize\setlength{\tabcolsep}{3.5pt}",
        rf"  \caption{{{latex(settings_caption(study))}}}",
        r"  \label{tab:settings}",
        rf"  \begin{{tabular}}{{{'l' * len(axes)}{'r' * (len(names) + 3)}}}",
        r"    \toprule",
        _row(map(_title, titles)),
        r"    \midrule",
        *rows,
        r"    \bottomrule",
        r"  \end{tabular}",
        *(rf"  \par\smallskip{{\footnotesize\raggedright {latex(note)}\par}}" for note in _notes(study)),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def latex(text: str) -> str:
    """Text that LaTeX prints as it is."""
    return text.translate(SPECIAL).replace("--", "-{}-").replace("--", "-{}-")


def _name_row(name: str, *, num_columns: int) -> str:
    """A row that holds a name alone, over all columns; words that are too long break where keys do."""
    pieces = r"\allowbreak{}".join(map(latex, BREAKS.split(name)))
    span = rf"\multicolumn{{{num_columns}}}{{@{{}}p{{\linewidth}}@{{}}}}"
    return rf"    \addlinespace {span}{{\raggedright {pieces}}} \\"


def _in_bold(values: Sequence[float], metric: str) -> list[str]:
    """Numbers of a column; in bold what is printed like the best one."""
    texts = [_signed(value) for value in values]
    known = [value for value in values if not math.isnan(value)]
    if len(values) < 2 or not known:
        return texts
    best = _signed(min(known) if metric == "rmse" else max(known))
    return [rf"\textbf{{{text}}}" if text == best else text for text in texts]


def _title(name: str) -> str:
    """A column's title, a sum in two lines."""
    first, plus, second = latex(name).partition(" + ")
    return rf"\shortstack[r]{{{first}\\+ {second}}}" if plus else first


def _digits(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3f}"


def _signed(value: float) -> str:
    """Three decimals with a minus sign, not a hyphen; a dash for NaN."""
    return "--" if math.isnan(value) else f"{value:.3f}".replace("-", "$-$")


def _row(cells: Iterable[str]) -> str:
    return "    " + " & ".join(cells) + r" \\"


def _notes(study: Study) -> Iterator[str]:
    for one in study.settings:
        if reason := one.metrics[study.metric].reason:
            yield f"{one.name}: {reason}."
    yield from study.notes
