"""Results that the authors of published scorers have printed: one number a data set, without scores of items."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

FILE = Path(__file__).with_suffix(".yaml")


@dataclass(frozen=True, kw_only=True)
class PublishedResult:
    """What is printed of one scorer on one data set.

    source: where, and how it was taken from there. srocc, plcc: as printed; None where they are not. n: items of the
    list that belongs to it; None where that is not known. remark: what its mark says; empty where it has none.
    """

    system: str
    source: str
    srocc: float | None = None
    plcc: float | None = None
    n: int | None = None
    remark: str = ""


def published_result(scorer: str, data: str) -> PublishedResult | None:
    """Look a result up by the names in conf/scorer and conf/data; None where none is known."""
    of_scorer = yaml.safe_load(FILE.read_text(encoding="utf-8")).get(scorer)
    if of_scorer is None or data not in of_scorer["data"]:
        return None
    return PublishedResult(system=of_scorer["system"], source=of_scorer["source"], **of_scorer["data"][data])
