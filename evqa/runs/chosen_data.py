"""Data sets that are chosen by name to be scored: their settings, and the rows that count."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from evqa.config.compose import compose
from evqa.config.nearest import suggestion
from evqa.config.paths import conf_folder, group_folders, group_options
from evqa.config.saved import checked_saved
from evqa.config.signature import read_schema
from evqa.datasets.base import Annotations, Dataset
from evqa.datasets.splits import Records, draw_subset
from evqa.errors import AnnotationError, ConfigError, EvqaError
from evqa.files.names import listed
from evqa.scoring.scorer import Scorer
from evqa.training.folder import RunFolder
from evqa.training.plan import COMPANION, read_data_plan
from evqa.types import Failure, LabelScale, Record

TEST = "test"  # split
EVERY_ROW = "all labelled"
MAY_LACK = ("title", "description")  # texts of a question that a table need not have


@dataclass(frozen=True, kw_only=True)
class ChosenData:
    """A data set under its name in conf/data."""

    name: str
    dataset: Dataset


@dataclass(frozen=True, kw_only=True)
class LabelledRows:
    """What of a data set is scored.

    part: "test", where the data set has such a table; else "all labelled", the rows of all its tables. rejects: rows of
    that part that cannot be used.
    """

    part: str
    records: Records
    rejects: tuple[Failure, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SortedOverrides:
    """Overrides by what they belong to. shared: of every data set. own: of one, by its name."""

    scorer: tuple[str, ...]
    shared: tuple[str, ...]
    own: dict[str, tuple[str, ...]]


def read_names(text: str) -> list[str]:
    """Read `NAME,NAME`, names of conf/data. Raises ConfigError."""
    known = _options()
    names = [name.strip() for name in text.split(",")]
    problems = [
        f"--data {text}: there is no data set '{name}'. {suggestion(name, known)}"
        for name in names
        if name not in known
    ]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        problems.append(f"--data {text}: {listed(twice)} stands there twice; name each data set once.")
    if problems:
        raise ConfigError(dict.fromkeys(problems))
    return names


def _options() -> list[str]:
    return group_options(group_folders(conf_folder())["data"])


def sort_overrides(overrides: Iterable[str], names: Sequence[str]) -> SortedOverrides:
    """Tell whose each `KEY=VALUE` is: `NAME.KEY` one data set's, `data.KEY` every one's, all others the scorer's.

    How files are read and batched (`data.batch_size`, `data.cache`, ...) is the scorer's.

    Raises:
        ConfigError: a data set's own way of reading, or a key of one that is not scored.
    """
    of_reading = read_schema(COMPANION).parameters
    scorer, shared, problems = list[str](), list[str](), list[str]()
    own, others = {name: list[str]() for name in names}, set(_options()) - set(names)
    for line in overrides:
        head, _, rest = line.partition("=")[0].partition(".")
        is_reading = rest.partition(".")[0] in of_reading
        if head in own and is_reading:
            problems.append(f"--override {line}: the scorer reads all data sets alike; write data.{rest}=VALUE.")
        elif head in others:
            problems.append(f"--override {line}: {head} is not one of --data {','.join(names)}.")
        elif head in own:
            own[head].append(f"data{line.removeprefix(head)}")
        elif head == "data" and rest and not is_reading:
            shared.append(line)
        else:
            scorer.append(line)
    if problems:
        raise ConfigError(problems)
    return SortedOverrides(scorer=tuple(scorer), shared=tuple(shared), own={name: tuple(own[name]) for name in own})


def choose_data(names: Sequence[str], overrides: SortedOverrides) -> list[ChosenData]:
    """Compose the settings of every data set and build it; no table is read.

    Raises:
        ConfigError: everything that is wrong with any of them.
    """
    chosen, problems = list[ChosenData](), list[str]()
    for name in names:
        try:
            config = compose([f"data={name}", *overrides.shared, *overrides.own[name]])
            chosen.append(ChosenData(name=name, dataset=read_data_plan(config).dataset))
        except ConfigError as error:
            problems += [_named(problem, name) for problem in error.problems]
    if problems:
        raise ConfigError([*problems, "A key of one data set is set with --override NAME.KEY=VALUE."])
    return chosen


def _named(problem: str, name: str) -> str:
    own = f"{name}.{problem.removeprefix('data.')}" if problem.startswith("data.") else problem
    return f"--data {name}: {own}"


def in_own_words(text: str, name: str) -> str:
    """Say of one data set what a sentence says of the key `data.KEY=`, as it is written here."""
    return re.sub(r"\bdata\.(\w+=)", rf"--override {name}.\1", text)


def labelled_rows(dataset: Dataset, *, texts: Iterable[str]) -> LabelledRows:
    """Read a data set's tables and take the rows that count; texts: those that the scorer's question names.

    Of a data set with a limit, so many of them, stratified by label.

    Raises:
        AnnotationError, FileError: a table or folder cannot be used, or no row has a label.
        ConfigError: the scorer's question names a text that a table lacks.
    """
    given = dataset.asking(texts).read()
    part = TEST if TEST in given.splits else EVERY_ROW
    rows = given.splits[TEST] if part == TEST else _of_all_tables(given)
    labelled = tuple(record for record in rows if record.label is not None)
    rejects = _rejects_of(given, part)
    if not labelled:
        raise AnnotationError(_why_empty(part, num_rows=len(rows), label=dataset.label.name, rejects=rejects))
    if dataset.limit is not None and dataset.limit < len(labelled):
        labelled, part = draw_subset(labelled, size=dataset.limit, seed=dataset.split_seed), f"{part}, limited"
    return LabelledRows(part=part, records=labelled, rejects=rejects, notes=given.notes)


def training_files(place: Path) -> frozenset[Path]:
    """Files that a run was trained on, as its tables name them now; none where that cannot be known (no run, moved)."""
    folder = RunFolder(place)
    if not folder.config.is_file():
        return frozenset()
    try:
        dataset = read_data_plan(checked_saved(folder.config)).dataset
        records = () if dataset.makes() else dataset.load().splits.get("train", ())
    except EvqaError:
        return frozenset()
    return frozenset(path.resolve() for record in records for path in record.paths)


def doubts(
    records: Sequence[Record], labels: LabelScale, *, scorer: Scorer, trained_on: frozenset[Path]
) -> Iterator[str]:
    """Yield what a reader should know of scores on these records. trained_on: of `training_files`."""
    scores = scorer.meaning.scale
    if labels.range != scores.range:
        yield (
            f"scores were mapped from {scores.name} on {scores.low:g}..{scores.high:g} to {labels.name} on "
            f"{labels.low:g}..{labels.high:g}."
        )
    if labels.measures != scores.measures:
        yield f"the scorer's label ({scores.name}) measures {scores.measures}, this one {labels.measures}."
    for name in (name for name in scorer.prompt.texts if name in MAY_LACK):
        if not any(name in record.texts for record in records):
            yield f"no row has a {name}, which the scorer's question names."
    if seen := sum(any(path.resolve() in trained_on for path in record.paths) for record in records):
        yield f"{seen} of {len(records)} items are in the scorer's training data, so this is no test of it."


def _of_all_tables(given: Annotations) -> Records:
    records = given.records
    twice = [name for name, count in Counter(record.id for record in records).items() if count > 1]
    if twice:
        raise AnnotationError(f"{len(twice)} ids stand in two of its tables: {listed(twice)}.")
    return records


def _rejects_of(given: Annotations, part: str) -> tuple[Failure, ...]:
    """Take the rejects of all tables, or those of the test table: without a row that only another table names."""
    if part != TEST:
        return given.rejects
    others = {name for split, ids in given.ids.items() if split != TEST for name in ids} - set(given.ids.get(TEST, ()))
    return tuple(failure for failure in given.rejects if failure.id not in others)


def _why_empty(part: str, *, num_rows: int, label: str, rejects: Sequence[Failure]) -> str:
    if num_rows:
        of = "its test table" if part == TEST else "its tables"
        return f"none of the {num_rows} rows of {of} has a label ({label}), and without labels nothing is compared."
    if rejects:
        return f"none of its {len(rejects)} rows can be used; the first: {rejects[0]}"
    return "its tables have no rows."
