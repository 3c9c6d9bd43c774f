"""Combine the predictions of several runs or files into one, and say honestly how much better it is.

`python -m evqa.ensemble RUN... --method weights --out ensemble.csv`
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from evqa.cli import Flags, exit_code
from evqa.errors import AnnotationError
from evqa.files.log import say_begin
from evqa.files.progress import BEGINS_ANEW, counted, stoppable

if TYPE_CHECKING:
    from evqa.ensembling import Combination, Judgement, Members, Method
    from evqa.runs.wandb_ensemble import LoggedMembers

METHODS = ("mean", "rank_mean", "weights", "greedy", "stack")


def parser() -> argparse.ArgumentParser:
    """The flags of the command."""
    flags = Flags(
        prog="evqa ensemble",
        description="Combine predictions. Members are run folders or files with the columns 'Id,<label>'; runs that "
        "differ in data.fold alone are one member.",
        epilog="With labels the ensemble is judged: weights, greedy and stack by nested cross-validation, so that the "
        "score shown is one for labels that the weights have not seen. Items of a group (a column 'group' beside the "
        "labels) stay together. The file F gets the prediction; the weights go to the same name with .json, and "
        "--weights applies them to a set without labels.",
    )
    flags.add_argument("predictions", metavar="PRED", nargs="+", help="run folder or Id,<label> file, or NAME=PATH")
    flags.add_argument(
        "--targets",
        type=Path,
        metavar="CSV",
        help="table with Id and the labels, or only the ids of a test set (default: the labels that runs keep)",
    )
    flags.add_argument("--method", choices=METHODS, help="how to combine (default: mean)")
    flags.add_argument("--out", type=Path, required=True, metavar="F", help="the combined prediction, a CSV file")
    flags.add_argument("--weights", type=Path, metavar="FILE", help="apply weights that an earlier call wrote")
    flags.add_argument("--label", help="name of the label (default: as the predictions name it)")
    flags.add_argument("--split", default="val", help="which predictions of a run (default: val)")
    flags.add_argument(
        "--common", action="store_true", help="combine the ids that all members have, and say which are left out"
    )
    flags.add_argument("--folds", type=int, default=5, help="folds of the cross-validation (default: 5)")
    flags.add_argument("--seed", type=int, default=0, help="seed of the folds (default: 0)")
    flags.add_argument(
        "--wandb",
        action="store_true",
        help="also log the ensemble to W&B, as made of the predictions of its runs (offline unless logged in)",
    )
    flags.add_argument("--zip", action="store_true", help="also write the prediction as a zip file")
    return flags


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0, or 2 and a sentence where the user can mend something."""
    flags = parser().parse_args(arguments)
    return exit_code(partial(run, flags))


@stoppable("before the prediction was written", then=BEGINS_ANEW)
def run(flags: argparse.Namespace) -> None:
    """Read, combine, judge, write, show. Raises EvqaError."""
    say_begin("Reading the predictions.")
    from evqa.ensembling import prediction, read_members, save, write_submission
    from evqa.ensembling.show import show

    if flags.out.suffix.lower() != ".csv":
        raise AnnotationError(f"--out {flags.out}: the prediction is a CSV file; give a name that ends in .csv.")
    members = read_members(
        flags.predictions, split=flags.split, targets=flags.targets, label=flags.label, common=flags.common
    )
    logged = _logged(members) if flags.wandb else None
    combination, judgement, notes = _apply(flags, members) if flags.weights else _fit(flags, members)
    scores_N = prediction(members, combination, judgement)
    written = write_submission(flags.out, members.ids, scores_N, label=members.label, zipped=flags.zip)
    if not flags.weights:
        written.append(flags.out.with_suffix(".json"))
        fitted_on = members.digest() if judgement and judgement.fitted else None
        about = {"label": members.label, "fitted_on": fitted_on, "judgement": judgement and judgement.to_json()} | {
            "weight_0": list(combination.retired())
        }
        save(written[-1], combination, about=about)
    if logged is not None:
        notes += _log(logged, flags.split, written, combination, judgement)
    show(members, combination, judgement, notes=[*members.notes, *members.left_out, *notes], written=written)


def _logged(members: Members) -> LoggedMembers:
    from evqa.runs.wandb_ensemble import logged_members

    return logged_members(dict(zip(members.names, members.files, strict=True)))


def _log(
    logged: LoggedMembers, split: str, written: list[Path], combination: Combination, judgement: Judgement | None
) -> list[str]:
    """Log to W&B, whose folder is written too; returns a note on the members that it does not know."""
    from evqa.files.names import listed
    from evqa.runs.run_log import summary_of
    from evqa.runs.wandb_ensemble import log_ensemble

    config = {"method": combination.method, "members": list(combination.members)}
    summary = summary_of(split, judgement.ensemble.to_json()) if judgement else {}
    folder = log_ensemble(logged, split, [*written], config=config, summary=summary)
    written += [folder] if folder else []
    unknown = f"W&B does not know where the predictions of {listed(list(logged.others))} come from."
    return [unknown] if logged.others else []


def _fit(flags: argparse.Namespace, members: Members) -> tuple[Combination, Judgement | None, list[str]]:
    from evqa.ensembling import FITTED, alike, judge

    method: Method = flags.method or "mean"
    if len(members.names) < 2:
        raise AnnotationError(" ".join(["One prediction is no ensemble; give at least two.", *members.left_out]))
    if members.labels_N is None:
        if method in FITTED:
            raise AnnotationError(
                f"--method {method} fits weights, but no labels are known: give --targets with the column "
                f"'{members.label}', or --weights FILE."
            )
        return alike(method, members.scores_NM, names=members.names), None, []
    scores_KM, labels_K, groups = members.labelled()
    # With all members, and without each of them.
    with counted(f"judging {method}", len(members.names) + 1, stderr=True, then=BEGINS_ANEW) as counting:
        found = judge(
            method,
            scores_KM,
            labels_K,
            names=members.names,
            groups=groups,
            num_folds=flags.folds,
            seed=flags.seed,
            watch=counting.watch,
        )
    return *found, []


def _apply(flags: argparse.Namespace, members: Members) -> tuple[Combination, Judgement | None, list[str]]:
    from evqa.ensembling import judge_given, load

    combination, about = load(flags.weights)
    if flags.method not in (None, combination.method):
        raise AnnotationError(f"--method {flags.method}: {flags.weights} holds weights of '{combination.method}'.")
    pairs = zip(combination.members, members.names, strict=False)
    combination, by_name = combination.in_order_of(members.names)
    notes = [] if by_name else ["Weights go by position: " + ", ".join(f"{old} -> {new}" for old, new in pairs) + "."]
    if members.labels_N is None:
        return combination, None, notes
    same_labels = about.get("fitted_on") == members.digest()
    scores_KM, labels_K, groups = members.labelled()
    return combination, judge_given(combination, scores_KM, labels_K, same_labels=same_labels, groups=groups), notes


if __name__ == "__main__":
    raise SystemExit(main())
