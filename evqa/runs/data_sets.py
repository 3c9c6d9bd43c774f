"""`python -m evqa.eval --scorer PLACE --data NAME,NAME`: one scorer over published data sets, as one table."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from evqa.errors import AnnotationError, ConfigError, EvqaError, FileError, RunError
from evqa.files.progress import counted
from evqa.files.terminal import terminal, warn
from evqa.files.whole import check_place
from evqa.reporting import data_set_table
from evqa.reporting.data_set_table import DataSetRow
from evqa.reporting.published_results import published_result
from evqa.runs.chosen_data import (
    MAY_LACK,
    ChosenData,
    LabelledRows,
    choose_data,
    doubts,
    in_own_words,
    labelled_rows,
    read_names,
    sort_overrides,
    training_files,
)
from evqa.runs.origin import digest
from evqa.runs.preparation import check_files, known_facts
from evqa.scoring.command import digest_of_scorer
from evqa.scoring.files import write_predictions
from evqa.scoring.journal import ScoreJournal, check_identity, differing
from evqa.scoring.load import load
from evqa.scoring.outcome import ScoreOutcome, outcome_of
from evqa.scoring.outputs import part_of
from evqa.scoring.records import read_record
from evqa.scoring.score import Score
from evqa.scoring.scorer import Scorer
from evqa.training.batch_settings import BatchSettings
from evqa.training.conversations import check_conversations
from evqa.training.folder import RunFolder
from evqa.training.plan import DataPlan
from evqa.types import LabelScale, Record

HOME = Path("evaluations")


@dataclass(frozen=True, kw_only=True)
class DataSetsRequest:
    """The flags of an evaluation over data sets."""

    scorer: str
    data: str
    out: Path | None = None
    overwrite: bool = False
    modal: str | None = None
    ckpt: str = "best"
    override: Sequence[str] = ()

    @property
    def folder(self) -> RunFolder:
        """Where everything is written, laid out as a run; evaluations/<name of the scorer> unless --out names it."""
        return RunFolder(self.out or HOME / Path(self.scorer).resolve().name)


@dataclass(frozen=True, kw_only=True)
class ReadyData:
    """A data set whose rows are read. rows.records: those whose files open; the others are among rows.rejects.

    identity: what makes it the same evaluation (see `evqa.scoring.journal.SAID`).
    """

    name: str
    rows: LabelledRows
    plan: DataPlan
    identity: dict[str, Any]

    @property
    def scale(self) -> LabelScale:
        """The scale of its labels."""
        return self.plan.dataset.label


def evaluate_data_sets(request: DataSetsRequest) -> list[DataSetRow]:
    """Score every data set, write predictions/NAME.* and table.*, print the table.

    Raises:
        ConfigError: a name or a setting that cannot be used, a scorer without scores, or results of another command;
            nothing is scored then.
        RunError: a data set could not be scored; the others are kept.
    """
    names = read_names(request.data)
    overrides = sort_overrides(request.override, names)
    chosen = choose_data(names, overrides)
    _check_folder(request.folder.path)
    scorer = load(request.scorer, checkpoint=request.ckpt, overrides=overrides.scorer, modal=request.modal)
    scorer.check_scores()
    evaluation = DataSetEvaluation(request, scorer, scorer_overrides=overrides.scorer)
    rows = evaluation.run(chosen)
    _tell_end(rows, request, scorer)
    return rows


class DataSetEvaluation:
    """One scorer at work on data sets, one after the other."""

    def __init__(self, request: DataSetsRequest, scorer: Scorer, *, scorer_overrides: Sequence[str]) -> None:
        self.request, self.scorer, self.folder = request, scorer, request.folder
        self.trained_on = training_files(Path(request.scorer))
        self.identity = {
            "scorer": digest_of_scorer(Path(request.scorer), request.ckpt),
            "modal": request.modal,
            "overrides": sorted(scorer_overrides),
        }

    def run(self, chosen: Sequence[ChosenData]) -> list[DataSetRow]:
        """Read all data sets, so that what is missing is told before hours are spent, then score them in order."""
        found = {one.name: self._ready(one) for one in chosen}
        earlier = {name: self._earlier(one) for name, one in found.items() if isinstance(one, ReadyData)}
        return [self._row(name, one, record=earlier.get(name)) for name, one in found.items()]

    def _row(self, name: str, found: ReadyData | str, *, record: dict[str, Any] | None) -> DataSetRow:
        problem = found if isinstance(found, str) else ""
        if isinstance(found, ReadyData) and record is None:
            record = self._score(found)
            problem = "" if record else f"none of its {len(found.rows.records)} items could be scored."
        return DataSetRow(
            name=name, record=record, problem=problem, published=published_result(self.request.scorer, name)
        )

    def _ready(self, chosen: ChosenData) -> ReadyData | str:
        """Read a data set, or say why it cannot be scored, which costs only itself."""
        try:
            return self._read(chosen)
        except (EvqaError, OSError) as error:
            problem = in_own_words(str(error), chosen.name)
            warn(f"{chosen.name} cannot be scored: {problem}")
            return problem

    def _read(self, chosen: ChosenData) -> ReadyData:
        model, prompt, dataset = self.scorer.module.model, self.scorer.prompt, chosen.dataset
        rows = labelled_rows(dataset, texts=[name for name in prompt.texts if name not in MAY_LACK])
        own_notes = [in_own_words(note, chosen.name) for note in rows.notes]
        batches = BatchSettings(limits=model.preparer.clip.limits)
        plan = DataPlan(dataset=dataset, batches=batches, modal=self.scorer.modal)
        records, unreadable = check_files(rows.records, plan)
        if not records:
            raise AnnotationError(f"none of its {len(unreadable)} files can be used; the first: {unreadable[0]}")
        check_conversations({chosen.name: records}, prompt=prompt, head=self.scorer.module.head, model=model)
        return ReadyData(
            name=chosen.name,
            rows=replace(
                rows,
                records=records,
                rejects=(*rows.rejects, *unreadable),
                notes=(*own_notes, *doubts(records, dataset.label, scorer=self.scorer, trained_on=self.trained_on)),
            ),
            plan=plan,
            identity=self.identity | {"inputs": _digest(records, dataset.label)},
        )

    def _earlier(self, ready: ReadyData) -> dict[str, Any] | None:
        """Return what the same command has written before.

        Raises:
            ConfigError: another one has, and --overwrite is not given.
        """
        predictions, file = self.folder.prediction(ready.name), self.folder.prediction(ready.name, "json")
        if part_of(predictions).exists() or not (predictions.exists() or file.exists()):
            return None
        try:
            record = read_record(file) if file.exists() else {}
        except FileError as error:
            if self.request.overwrite:
                return None
            raise ConfigError([f"--out: {error}. Replace it with --overwrite, or give another --out."]) from error
        command = record.get("command")
        if isinstance(command, dict) and not differing(command, ready.identity):
            _say(f"{ready.name}: scored by the same command before, and not again ({file}).")
            return record
        if not self.request.overwrite:
            check_identity(predictions, command if isinstance(command, dict) else {}, ready.identity)
        return None

    def _score(self, ready: ReadyData) -> dict[str, Any] | None:
        """Score with a journal beside the predictions; None where not one item has a score."""
        part = part_of(self.folder.prediction(ready.name))
        with contextlib.closing(ScoreJournal(part, ready.identity, replace=self.request.overwrite)) as journal:
            try:
                self._go_on(ready.rows.records, journal, name=ready.name)
            except KeyboardInterrupt:
                journal.flush()
                done = f"{journal.num_items} of {len(ready.rows.records)} items of {ready.name}"
                _say(f"Stopped after {done}, which are kept in {part}; the same command continues there.")
                raise KeyboardInterrupt from None
            scores = self._on_label_scale(ready, journal.outcomes())
            record = self._write(ready, scores) if any(score.value is not None for score in scores) else None
            journal.remove()
        return record

    def _go_on(self, records: Sequence[Record], journal: ScoreJournal, *, name: str) -> None:
        journal.cut(batch_size=self.scorer.window, num_items=len(records))
        left = records[journal.num_items :]
        if journal.num_items:
            _say(f"{name}: {journal.num_items} of {len(records)} were scored before; this goes on behind them.")
        with (
            counted(f"scoring {name}", len(records), begin=journal.num_items) as counting,
            contextlib.closing(self.scorer.score(left)) as scores,
        ):
            for score in counting.watch(scores):
                journal.append(outcome_of(score))
                journal.flush()

    def _on_label_scale(self, ready: ReadyData, outcomes: Iterator[ScoreOutcome]) -> list[Score]:
        """Map scores from the scorer's declared scale to that of the labels."""
        own = self.scorer.meaning.scale
        return [
            Score(
                id=record.id,
                paths=record.paths,
                value=None if one.value is None else ready.scale.from_unit(own.to_unit(one.value)),
                label=record.label,
                missing=one.missing,
                failure=one.failure if one.value is None else None,
            )
            for record, one in zip(ready.rows.records, outcomes, strict=True)
        ]

    def _write(self, ready: ReadyData, scores: Sequence[Score]) -> dict[str, Any]:
        about = {
            "scorer": self.request.scorer,
            "checkpoint": self.request.ckpt,
            "modal": self.scorer.modal,
            "data": ready.name,
            "part": ready.rows.part,
            "notes": list(ready.rows.notes),
            "command": ready.identity,
        }
        return write_predictions(
            self.folder,
            ready.name,
            scores,
            records=ready.rows.records,
            rejects=ready.rows.rejects,
            scale=ready.scale,
            about=about,
            facts=known_facts(ready.plan),
        )


def _digest(records: Sequence[Record], scale: LabelScale) -> str:
    """A text that is another one where other rows, labels or files would be scored."""
    content = json.dumps([digest(tuple(records)), asdict(scale)], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _check_folder(folder: Path) -> None:
    """Refuse a place that cannot be written before anything is loaded. Raises ConfigError."""
    try:
        check_place(folder / "table.csv")
    except FileError as error:
        raise ConfigError([f"--out {folder}: {error}; give a folder that can be written."]) from error


def _tell_end(rows: Sequence[DataSetRow], request: DataSetsRequest, scorer: Scorer) -> None:
    """Write and print the table. Raises RunError where a data set is missing in it."""
    folder, missing = request.folder.path, [row for row in rows if row.record is None]
    if len(missing) < len(rows):
        data_set_table.write(rows, folder, about={"scorer": request.scorer, "modal": scorer.modal})
        terminal().print(f"{request.scorer}, modal={scorer.modal}\n")
        data_set_table.show(rows, terminal(soft_wrap=False))
        terminal().print(f"Table: {folder / 'table.csv'}, table.json; predictions: {folder / 'predictions'}")
    if missing:
        reasons = "\n".join(f"  {row.name}: {row.problem}" for row in missing)
        kept = (
            "the others are kept, and the same command scores only what is missing" if len(missing) < len(rows) else ""
        )
        count = f"{len(missing)} of {len(rows)} data sets could not be scored"
        raise RunError(f"{count}{f'; {kept}' if kept else ''}:\n{reasons}")


def _say(text: str) -> None:
    terminal(stderr=True).print(text)
