"""Report on a set of runs: what differs, by how much, and whether this n can tell.

`python -m evqa.report runs/audio_ablation --out report --baseline modal=v`
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from evqa.cli import Flags, exit_code
from evqa.errors import RunError
from evqa.files.log import say_begin
from evqa.files.names import from_system
from evqa.files.progress import BEGINS_ANEW, counted, stoppable
from evqa.files.refusals import placed

if TYPE_CHECKING:
    from evqa.reporting.runs import Run

FORMATS = ("pdf", "svg", "png")
COLUMN = "in single-column width (88 mm), 300 dpi"


def parser() -> argparse.ArgumentParser:
    """The flags of the command."""
    flags = Flags(
        prog="evqa report",
        description="Tables, paired tests and pictures of a set of runs, as Markdown and as one HTML file.",
        epilog="Runs are grouped by the settings they differ in; seeds are pooled. Unfinished runs are listed.",
    )
    flags.add_argument("runs", metavar="RUN", nargs="+", type=Path, help="run folder, or a folder of runs")
    flags.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the report")
    flags.add_argument("--split", default="val", help="which predictions (default: val)")
    flags.add_argument(
        "--labels", type=Path, metavar="CSV", help="table of labels, in place of those beside the predictions"
    )
    flags.add_argument("--metric", default="challenge", help="challenge (default), srocc, plcc or krocc")
    _add_comparisons(flags)
    flags.add_argument(
        "--format",
        metavar="pdf,svg,png",
        help=f"also write every picture for a paper: {COLUMN}; a png takes the place of the screen's",
    )
    flags.add_argument("--title", help="title of the report")
    flags.add_argument(
        "--wandb", action="store_true", help="also log the tables and pictures to W&B (offline unless logged in)"
    )
    return flags


def _add_comparisons(flags: argparse.ArgumentParser) -> None:
    flags.add_argument(
        "--baseline",
        action="append",
        default=[],
        metavar="AXIS=VALUE",
        help="compare every setting with the one that has this value and equals it elsewhere; may be repeated "
        "(default: all pairs)",
    )
    flags.add_argument(
        "--compare",
        action="append",
        default=[],
        metavar="AXIS=VALUE",
        help="compare only settings that have this value, with the baseline or among each other; may be repeated, "
        "of one axis for several values (default: all settings). Further runs then change no p",
    )
    flags.add_argument(
        "--margin",
        type=_difference,
        metavar="D",
        help="also test whether compared settings are equivalent: within D of the metric, as in 0.01",
    )
    flags.add_argument(
        "--plan",
        type=_difference,
        metavar="D",
        help="also tell how many seeds and items it takes to see a difference of D in the metric, as in 0.01",
    )
    flags.add_argument(
        "--repeats",
        action="store_true",
        help="the runs repeat a setting over random splits or folds (data.split_seed, data.fold): judge each on its "
        "own items and give medians (without it the scores of all folds are pooled)",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0, or 2 and a sentence where the user can mend something."""
    flags = parser().parse_args(arguments)
    flags.given = list(sys.argv[1:] if arguments is None else arguments)
    return exit_code(partial(run, flags))


@stoppable("before the report was written", then=BEGINS_ANEW)
def run(flags: argparse.Namespace) -> None:
    """Read the runs, compare, write, show. Raises EvqaError."""
    baseline = dict(_pairs("--baseline", flags.baseline)) or None
    family = defaultdict[str, list[str]](list)
    for key, value in _pairs("--compare", flags.compare):
        family[key].append(value)
    formats = _formats(flags.format)
    say_begin("Reading the runs.")
    from evqa.metrics.resampling import NUM_RESAMPLES
    from evqa.reporting.comparing import compare
    from evqa.reporting.folds import join_folds
    from evqa.reporting.further import further_sentences
    from evqa.reporting.provenance import provenance
    from evqa.reporting.runs import Targets, find_runs, read_run, with_labels
    from evqa.reporting.show import show
    from evqa.reporting.study import pool
    from evqa.reporting.writing import write_report
    from evqa.runs.examined import examine_with_items

    found = find_runs(flags.runs)
    with counted("reading runs", len(found.folders), stderr=True, then=BEGINS_ANEW) as counting:
        targets: Targets = {}
        runs = [read_run(path, split=flags.split, known=targets) for path in counting.watch(found.folders)]
    if flags.labels:
        runs = [with_labels(one, flags.labels) for one in runs]
    if flags.repeats:
        _report_repeats(flags, runs, notes=found.left_out)
        return
    joined = join_folds(runs)
    with counted("resampling the items of runs", NUM_RESAMPLES, stderr=True, then=BEGINS_ANEW) as counting:
        pooled = pool(joined.runs, split=flags.split, metric=flags.metric, told=counting.move)
    study = compare(pooled, baseline=baseline, family=family or None)
    study = replace(study, notes=(*found.left_out, *joined.notes, *study.notes))
    study, further = examine_with_items(study, folder=flags.out, margin=flags.margin, difference=flags.plan)
    title = from_system(flags.title or "") or f"Report on {len(runs)} runs"
    of = {"split": flags.split, "metric": flags.metric}
    origin = provenance([one for one in runs if one.scores is not None], command=flags.given, **of)
    with placed(flags.out):
        drawn = write_report(study, flags.out, title=title, further=further, origin=origin, formats=formats)
    show(study, folder=flags.out, said=further_sentences(study, further), formats=formats)
    if flags.wandb:
        from evqa.reporting.writing import log_to_wandb
        from evqa.runs.wandb_log import has_login, online_or_offline

        online_or_offline(
            lambda mode: log_to_wandb(study, flags.out, drawn, title=title, mode=mode), flags.out, online=has_login()
        )


def _report_repeats(flags: argparse.Namespace, runs: Sequence[Run], *, notes: Sequence[str]) -> None:
    from evqa.files.terminal import terminal
    from evqa.reporting.repeats import repeats, report

    unused = [
        f"--{name}"
        for name in ("baseline", "compare", "margin", "plan", "format", "title", "wandb")
        if getattr(flags, name)
    ]
    if unused:
        raise RunError(f"{unused[0]}: --repeats writes medians, and no report that takes it; leave it away.")
    for note in notes:
        terminal(stderr=True).print(f"Note: {note}")
    of = {"metric": flags.metric, "split": flags.split}
    with placed(flags.out):
        report(repeats(runs, **of), flags.out, **of)


def _difference(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text}: give a difference of the metric, above 0 and below 1, as in 0.01")
    return value


def _pairs(flag: str, given: Sequence[str]) -> list[tuple[str, str]]:
    pairs = [text.partition("=") for text in given]
    bad = [text for text, (_, separator, _) in zip(given, pairs, strict=True) if not separator]
    if bad:
        raise RunError(f"{flag} {bad[0]}: write AXIS=VALUE, for instance modal=v.")
    return [(key, value) for key, _, value in pairs]


def _formats(given: str | None) -> tuple[str, ...]:
    """The formats that a flag names, each once."""
    if given is None:
        return ()
    names = [name.strip().lower() for name in given.split(",")]
    if bad := [name for name in names if name not in FORMATS]:
        raise RunError(
            f"--format {given}: '{bad[0]}' is no format; give {', '.join(FORMATS)}, or several with commas between."
        )
    return tuple(dict.fromkeys(names))


if __name__ == "__main__":
    raise SystemExit(main())
