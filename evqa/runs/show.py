"""What a person sees in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from evqa.heads.base import Head
from evqa.runs.example import Example
from evqa.training.losses import Loss
from evqa.training.optimizer import AdamW
from evqa.training.tuning import TrainedPart
from evqa.types import Failure, Record


def words_line(head: Head, loss: Loss) -> str:
    """Say what a head is trained by that learns words, and that this is not the configured loss."""
    unused = type(loss).__name__
    return f"Loss: {type(head).__name__} learns words by next-token loss; the configured loss ({unused}) is not used."


def print_parts(console: Console, parts: Sequence[TrainedPart], optimizer: AdamW) -> None:
    """Print what is trained and at which rate."""
    table = Table("part", "parameters", "trained", "learning rate", title="What trains", title_justify="left")
    for part in parts:
        key = "lora" if part.name.endswith("(LoRA)") else part.name
        rate = f"{optimizer.rate(key):g}" if part.trained else "frozen"
        table.add_row(part.name, f"{part.total:,}", f"{part.trained:,}", rate)
    total, trained = sum(part.total for part in parts), sum(part.trained for part in parts)
    table.add_row("sum", f"{total:,}", f"{trained:,}", "")
    for column in table.columns[1:]:
        column.justify = "right"
    console.print(table)


def print_data(
    console: Console,
    splits: dict[str, tuple[Record, ...]],
    failures: Sequence[Failure],
    dropped: Sequence[Failure] = (),
) -> None:
    """Print the sizes of the splits, every failure and every row dropped on purpose, up to twenty sentences of each."""
    sizes = ", ".join(f"{len(records)} {name}" for name, records in splits.items())
    console.print(f"Data: {sizes}; {len(failures)} left out.")
    _print_some(console, "left out", failures)
    if dropped:
        console.print(f"Dropped as data.overlap=drop asks (no failures): {len(dropped)} of the training rows.")
    _print_some(console, "dropped", dropped)


def _print_some(console: Console, word: str, failures: Sequence[Failure]) -> None:
    for failure in failures[:20]:
        console.print(f"  {word}: {failure}")
    if len(failures) > 20:
        console.print(f"  ... and {len(failures) - 20} more; python -m evqa.prepare writes them all.")


def print_card(console: Console, rows: Sequence[tuple[str, str]]) -> None:
    """Print the cost card of a dry run."""
    table = Table("what", "estimate", title="Cost card (nothing was run)", title_justify="left")
    for what, estimate in rows:
        table.add_row(what, estimate)
    console.print(table)


def print_example(console: Console, example: Example) -> None:
    """Print the conversation of a dry run with what is known of it."""
    console.print("Conversation:", style="bold")
    console.print(example.text)
    for note in example.notes:
        console.print(f"  {note}", markup=False)
