"""Write a report: pictures, Markdown, a page, the numbers as JSON and CSV; and the same to W&B."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from evqa.files.plain import write_json
from evqa.files.whole import write_whole
from evqa.reporting.chosen import chosen_of
from evqa.reporting.document import to_html, to_markdown
from evqa.reporting.further import Further, further_json
from evqa.reporting.item_media import write_thumbnails
from evqa.reporting.pages import compose, settings_table
from evqa.reporting.paper_table import settings_tex, write_settings_csv
from evqa.reporting.plots import Drawn, draw_all
from evqa.reporting.provenance import Provenance
from evqa.reporting.slices import write_items
from evqa.reporting.study import Comparison, SeedPair, Study
from evqa.reporting.winner import winner_interval


def write_report(
    study: Study, folder: Path, *, title: str, further: Further, origin: Provenance, formats: Sequence[str] = ()
) -> dict[str, Drawn]:
    """Write report.md, report.html, report.json, the tables and the pictures; returns the pictures.

    formats: of further pictures for a paper: pdf, svg, png.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn = draw_all(study, folder, formats=formats)
    write_thumbnails(further.media, folder)
    blocks = compose(study, drawn, further, origin)
    write_whole(folder / "report.md", to_markdown(title, blocks))
    write_whole(folder / "report.html", to_html(title, blocks))
    write_json(folder / "report.json", to_json(study) | further_json(further) | {"provenance": asdict(origin)})
    write_settings_csv(folder / "settings.csv", study)
    write_whole(folder / "settings.tex", settings_tex(study))
    if study.ids:
        write_items(folder / "items.csv", study)
    return drawn


def to_json(study: Study) -> dict[str, Any]:
    """The numbers of the tables."""
    return {
        "split": study.split,
        "label": study.label,
        "metric": study.metric,
        "n": len(study.ids),
        "axes": study.axes,
        "baseline": study.baseline,
        "settings": [
            {
                "name": one.name,
                "values": one.values,
                "seeds": [run.seed for run in one.runs],
                "runs": [str(run.path) for run in one.runs],
                "metrics": {name: asdict(pooled) for name, pooled in one.metrics.items()},
                "chosen_on_these_items": [asdict(checkpoint) for checkpoint in chosen_of(study, one)],
            }
            for one in study.settings
        ],
        "interval_of_the_best_of_all": asdict(winner) if (winner := winner_interval(study)) else None,
        "comparisons": [_comparison(one) for one in study.comparisons],
        "seed_pairs": [_seed_pair(one) for one in study.seed_pairs],
        "seed_spread": study.seed_spread,
        "unfinished": {str(run.path): run.problem for run in study.unfinished},
        "notes": study.notes,
    }


def _comparison(one: Comparison) -> dict[str, Any]:
    fields = asdict(one)
    fields["items_only"] |= {"p_holm": one.items_only.p, "p": fields.pop("items_raw_p")}
    return {**fields, "p_holm": fields["difference"].pop("p"), "p": fields.pop("raw_p")}


def _seed_pair(one: SeedPair) -> dict[str, Any]:
    fields = asdict(one)
    return {**fields, "p_holm": fields["difference"].pop("p"), "p": fields.pop("raw_p")}


def log_to_wandb(
    study: Study, folder: Path, drawn: Mapping[str, Drawn], *, title: str, mode: Literal["online", "offline"]
) -> Path:
    """Log the table of settings, the differences and the pictures as one W&B run; returns its folder."""
    import wandb

    table = settings_table(study)
    columns: list[str | int] = [*table.columns]
    patience = wandb.Settings(init_timeout=10, finish_timeout=10)  # seconds
    with wandb.init(
        project="evqa", job_type="report", name=title, dir=str(folder), mode=mode, settings=patience
    ) as run:
        run.log({"settings": wandb.Table(columns=columns, data=[list(row) for row in table.rows])})
        if study.comparisons:
            rows = [_comparison(one) for one in study.comparisons]
            data = [
                [
                    one["first"],
                    one["second"],
                    *(one["difference"][key] for key in ("value", "low", "high")),
                    one["p_holm"],
                ]
                for one in rows
            ]
            names: list[str | int] = ["first", "second", "difference", "low", "high", "p (Holm)"]
            run.log({"differences": wandb.Table(columns=names, data=data)})
        run.log({name: wandb.Image(str(folder / one.file), caption=one.description) for name, one in drawn.items()})
        return Path(run.dir).parent
