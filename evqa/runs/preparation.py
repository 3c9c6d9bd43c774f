"""`python -m evqa.prepare`: read the tables, inspect every file, say what is usable, fill the cache."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from omegaconf import DictConfig, OmegaConf
from rich.table import Table

from evqa.datasets import manifest
from evqa.datasets.base import Annotations, Dataset
from evqa.datasets.copies import alike
from evqa.datasets.manifest import Checked, FileFacts
from evqa.datasets.splits import Records
from evqa.errors import AnnotationError, FileError
from evqa.files.progress import counted
from evqa.files.terminal import terminal
from evqa.files.whole import write_table
from evqa.media.cache import CachedReader
from evqa.media.filling import fill
from evqa.metrics.levels import is_on_edge, level_of
from evqa.training.build import build_model
from evqa.training.plan import DataPlan, read_data_plan, read_plan
from evqa.types import Failure, LabelScale

SHOWN = 20  # rejects that are printed; all are written
console = terminal()


def run(config: DictConfig) -> None:
    """Prepare the data of a configuration; writes manifest.csv and rejects.csv and prints a summary.

    Raises:
        AnnotationError: a table cannot be used, or not one row is usable (the files are written all the same).
        CacheError: the clips do not fit into the cache, or it cannot be written (the files are written all the same).
    """
    data = read_data_plan(config)
    dataset = data.dataset
    annotations = dataset.load() if dataset.limit is not None else dataset.read()
    folder = dataset.prepared_folder()
    checked = _check(annotations.splits, data, hashed=True)
    failures = (*annotations.rejects, *annotations.dropped, *checked.failures)
    write_rejects(dataset, failures)
    if undecodable := _fill_cache(config, data, checked.usable):
        failures += undecodable
        write_rejects(dataset, failures)
    spoiled = {failure.id for failure in (*checked.failures, *undecodable)}
    usable = [one for one in checked.facts if one.id not in spoiled]
    print_summary(annotations, usable, failures, folder)
    for line in level_lines(annotations.records, dataset.label, OmegaConf.select(config, "head.words") or ()):
        console.print(line)
    if not usable:
        raise AnnotationError(f"Nothing can be used; the reasons are in {folder / 'rejects.csv'}.")


def check_files(records: Records, data: DataPlan, *, remember: bool = True) -> tuple[Records, tuple[Failure, ...]]:
    """Divide records into those whose files open and failures with reasons.

    What `evqa.prepare` (or an earlier run) has seen, and has not changed since, is not opened again.
    remember: write down what is found for the next time.
    """
    checked = _check({"": records}, data, hashed=False, remember=remember)
    return checked.usable, checked.failures


def known_facts(data: DataPlan) -> dict[str, FileFacts]:
    """What the manifest knows of every record's first file, by id."""
    facts = manifest.read_manifest(data.dataset.prepared_folder() / "manifest.csv")
    return {one.id: one for one in reversed(facts)}  # of several files of a record the first


def _check(splits: Mapping[str, Records], data: DataPlan, *, hashed: bool, remember: bool = True) -> Checked:
    return manifest.check_files(
        splits,
        manifest=data.dataset.prepared_folder() / "manifest.csv",
        limits=data.batches.limits,
        needs_picture=data.needs_picture,
        needs_sound=data.needs_sound,
        hashed=hashed,
        remember=remember,
        visually_hashed=hashed and data.dataset.copies == "near",
    )


def _fill_cache(config: DictConfig, data: DataPlan, records: Records) -> tuple[Failure, ...]:
    """Decode what the configuration's model will read into the cache; returns the files that do not decode."""
    settings = data.batches.cache
    if settings.folder is None or "model" not in config:
        return ()
    reader = CachedReader(settings, build_model(read_plan(config), load=False).model.preparer.clip)
    paths, workers = [path for record in records for path in record.paths], data.batches.num_workers()
    with counted("decoding", len(set(paths))) as counting:
        filled = fill(reader, paths, workers=workers, progress=lambda done, _: counting.move(done))
    console.print(f"Cache: {filled.num_stored} clips decoded, {filled.num_found} were there: {settings.folder}")
    reasons = {failure.path: failure.reason for failure in filled.failures}
    return tuple(
        Failure(id=record.id, reason=reasons[path]) for record in records for path in record.paths if path in reasons
    )


def write_rejects(dataset: Dataset, failures: Sequence[Failure]) -> None:
    """Write one line for everything that cannot be used."""
    rows = [[failure.id, failure.row or "", failure.reason, failure.table or ""] for failure in failures]
    try:
        write_table(dataset.prepared_folder() / "rejects.csv", ["id", "row", "reason", "table"], rows)
    except FileError as error:
        raise AnnotationError(f"data.prepared={dataset.prepared}: {error.reason}.") from error


def print_summary(
    annotations: Annotations, usable: Sequence[FileFacts], failures: Sequence[Failure], folder: Path
) -> None:
    """Print how much is usable, what the files are like, equal files, and why things are rejected."""
    console.print(_sizes_table(annotations, usable))
    for line in _file_lines(usable):
        console.print(line)
    for line in (*annotations.notes, *_twin_lines(usable)):
        console.print(line)
    if failures:
        console.print(_reasons_table(failures))
    for failure in failures[:SHOWN]:
        console.print(f"  {failure}")
    if len(failures) > SHOWN:
        console.print(f"  and {len(failures) - SHOWN} more in rejects.csv")
    console.print(f"Manifest and rejects: {folder}")


def level_lines(records: Records, scale: LabelScale, words: Sequence[str]) -> list[str]:
    """Say how many labels are of each level that the head would learn, where the levels meet, and what lies there.

    words: of the levels, from best to worst; empty where the head has none.
    """
    labelled = [record for record in records if record.label is not None]
    if not words or not labelled:
        return []
    units = [scale.to_unit(record.label) for record in labelled if record.label is not None]
    counts = Counter(level_of(unit, num_levels=len(words)) for unit in units)
    counted = ", ".join(f"{word.strip()} {counts[level]}" for level, word in enumerate(words))
    edges = ", ".join(f"{scale.from_unit(1 - level / len(words)):g}" for level in range(1, len(words)))
    where = f"{scale.name} {scale.low:g}..{scale.high:g}"
    lines = [f"Levels: {counted}; they meet at {edges} of {where}, and an edge belongs to the better level"]
    on_edge = [r for r, unit in zip(labelled, units, strict=True) if is_on_edge(unit, num_levels=len(words))]
    if on_edge:
        lines.append(f"  {len(on_edge)} labels lie on an edge (the first: Id {on_edge[0].id}, {on_edge[0].label:g})")
    return lines


def _sizes_table(annotations: Annotations, usable: Sequence[FileFacts]) -> Table:
    table = Table("table", "usable", "labelled", "label mean", title="Data", title_justify="left")
    kept = {(one.split, one.id) for one in usable}
    for split, records in annotations.splits.items():
        left = [record for record in records if (split, record.id) in kept]
        labels = [record.label for record in left if record.label is not None]
        average = f"{sum(labels) / len(labels):.4g}" if labels else "-"
        table.add_row(split, str(len(left)), str(len(labels)), average)
    return table


def _file_lines(usable: Sequence[FileFacts]) -> list[str]:
    if not usable:
        return []
    durations = sorted(one.duration for one in usable if one.duration is not None)
    sizes = Counter(f"{one.width}x{one.height}" for one in usable if one.width)
    lines = [
        f"Sound: {sum(one.audio_rate_hz is not None for one in usable)} of {len(usable)} files have an audio track"
    ]
    if durations:
        lines.insert(
            0,
            f"Duration: {durations[0]:.1f} to {durations[-1]:.1f} s, median {median(durations):.1f} s, "
            f"{sum(durations) / 3600:.2f} h in all",
        )
    common = ", ".join(f"{size} ({count})" for size, count in sizes.most_common(4))
    return [*lines, f"Pictures: {common}{', ...' if len(sizes) > 4 else ''}"]


def _twin_lines(usable: Sequence[FileFacts]) -> list[str]:
    groups = defaultdict[str, list[FileFacts]](list)
    for one in usable:
        groups[one.sha256].append(one)
    lines = _group_lines("Equal files", [group for content, group in groups.items() if content])
    names = alike({one.path: one.visual_hash for one in usable})
    copies = defaultdict[str, list[FileFacts]](list)
    for one in usable:
        if one.path in names:
            copies[names[one.path]].append(one)
    return lines + _group_lines("Files that look the same", list(copies.values()))


def _group_lines(title: str, groups: Sequence[Sequence[FileFacts]]) -> list[str]:
    twins = [group for group in groups if len(group) > 1]
    if not twins:
        return []
    lines = [f"{title}: {len(twins)} groups (each stays on one side of a split)"]
    lines += [f"  {', '.join(f'{one.id} ({one.split})' for one in group)}" for group in twins[:5]]
    return lines + (["  ..."] if len(twins) > 5 else [])


def _reasons_table(failures: Sequence[Failure]) -> Table:
    table = Table("rejected", "reason", title="Not usable", title_justify="left")
    for kind, count in Counter(failure.kind for failure in failures).most_common():
        table.add_row(str(count), kind)
    return table
