"""What a report shows, in order: the answer, the tables behind it, the pictures, what is missing, the method."""

from __future__ import annotations

from collections.abc import Mapping

from evqa.config.metric_names import PRINTED
from evqa.reporting.chosen import chosen_of
from evqa.reporting.decisions import decision_blocks
from evqa.reporting.document import Block, Bullets, Heading, Paragraph, Picture, TableBlock
from evqa.reporting.further import Further, comparison_blocks, further_blocks, further_sentences
from evqa.reporting.item_media import ItemMedia
from evqa.reporting.plots import OVER, Drawn, left_out, shown_settings
from evqa.reporting.provenance import Provenance
from evqa.reporting.provenance_blocks import provenance_blocks
from evqa.reporting.sentences import (
    chosen_places,
    ends,
    mean_last,
    method,
    number,
    p_text,
    training_noise,
    verdicts,
)
from evqa.reporting.single_items import item_blocks, single_items
from evqa.reporting.slices import score_slice, slices
from evqa.reporting.study import Comparison, Pooled, Study

MAX_ROWS = 20  # of a table of settings or differences before the others are folded


def compose(
    study: Study, drawn: Mapping[str, Drawn], further: Further | None = None, origin: Provenance | None = None
) -> list[Block]:
    """The blocks of the report; without `further` those of the settings alone."""
    said = further_sentences(study, further) if further else []
    return [
        Bullets(items=(*verdicts(study), *said)),
        Heading(text="Settings"),
        *settings_table(study, chosen=True).parts(MAX_ROWS, what="settings, from better to worse"),
        *_picture(drawn, "settings"),
        *(block for name in drawn if name.startswith(OVER) for block in _section(drawn[name].description, drawn, name)),
        *_differences(study, drawn),
        *(comparison_blocks(study, further) if further else []),
        *(decision_blocks(study, further.decisions) if further and further.decisions else []),
        *_seeds(study),
        *_missing(study),
        *_section("Learning curves", drawn, "learning_curves"),
        *_section("Scores against labels", drawn, "scatter"),
        *_section("Errors", drawn, "residuals"),
        *_slices(study, drawn),
        *(further_blocks(study, further) if further else []),
        *item_blocks(study, single_items(study), further.media if further else ItemMedia()),
        Heading(text="Runs"),
        _runs(study),
        Heading(text="How it was computed"),
        Bullets(items=tuple(method(study))),
        *(provenance_blocks(origin) if origin else []),
    ]


def settings_table(study: Study, *, chosen: bool = False) -> TableBlock:
    """One row a setting: axes, seeds, every metric; the main one with spread over seeds and interval.

    chosen: also which checkpoints gave the scores, where they were chosen on these items, and what the last ones had.
    """
    names = [name for name in PRINTED if name != study.metric]
    found = [chosen_of(study, setting) if chosen else [] for setting in study.settings]
    rows = []
    for setting, choice in zip(study.settings, found, strict=True):
        pooled = setting.metrics[study.metric]
        values = [setting.values[axis] for axis in study.axes] or [setting.name]
        others = [number(setting.metrics[name].mean) for name in names]
        main = [number(pooled.mean), number(pooled.spread), ends(pooled.low, pooled.high)]
        last = [chosen_places(choice) or "-", number(mean_last(choice))] if any(found) else []
        rows.append((*values, str(len(setting.runs)), *main, *last, *others, *_reason(pooled)))
    has_reason = any(setting.metrics[study.metric].reason for setting in study.settings)
    columns = [
        *(study.axes or ["setting"]),
        "seeds",
        PRINTED[study.metric],
        "SD of seeds",
        "95 % interval",
        *(["chosen on these items", "last validation"] if any(found) else []),
        *(PRINTED[name] for name in names),
        *(["why not"] if has_reason else []),
    ]
    full = tuple((*row, "") if len(row) < len(columns) else row for row in rows)
    return TableBlock(columns=tuple(columns), rows=full, left=max(1, len(study.axes)), caption=settings_caption(study))


def settings_caption(study: Study) -> str:
    """Of which items and labels the table of settings is."""
    count = f"n = {study.size}. " if study.ids else "From the runs' own records, labels are not at hand. "
    return f"Split '{study.split}', label '{study.label}'. {count}Means over seeds; intervals over {study.units}."


def _reason(pooled: Pooled) -> tuple[str, ...]:
    return (pooled.reason,) if pooled.reason else ()


def _differences(study: Study, drawn: Mapping[str, Drawn]) -> list[Block]:
    if not study.comparisons:
        return []
    numbers = ("difference", "95 %, items", "95 %, items and seeds", "p", "p (Holm)", "detectable")
    rows = tuple(_difference_row(comparison) for comparison in study.comparisons)
    against = f" against {', '.join(f'{k}={v}' for k, v in study.baseline.items())}" if study.baseline else ""
    caption = (
        f"Difference of {PRINTED[study.metric]}, first less second, on the same items. Detectable: the true difference "
        "that this comparison, after Holm's correction, finds with 80 % probability."
    )
    others = TableBlock(
        columns=("first", "second", "both", *(PRINTED[name] for name in study.comparisons[0].others)),
        rows=tuple(
            (
                one.first,
                one.second,
                one.shared,
                *(ends(other.low, other.high, sign="+") for other in one.others.values()),
            )
            for one in study.comparisons
        ),
        left=3,
        caption="The same for the other metrics: 95 % intervals over items of the difference",
        folded=True,
    )
    table = TableBlock(columns=("first", "second", "both", *numbers), rows=rows, left=3, caption=caption)
    tables = table.parts(MAX_ROWS, what="comparisons")
    return [Heading(text=f"Paired differences{against}"), *tables, *_picture(drawn, "differences"), others]


def _difference_row(comparison: Comparison) -> tuple[str, ...]:
    whole, items = comparison.difference, comparison.items_only
    return (
        comparison.first,
        comparison.second,
        comparison.shared,
        whole.reason or number(whole.value, sign="+"),
        ends(items.low, items.high, sign="+"),
        ends(whole.low, whole.high, sign="+") if comparison.freedom else "-",
        p_text(comparison.raw_p),
        p_text(whole.p),
        number(whole.detectable),
    )


def _seeds(study: Study) -> list[Block]:
    if not study.seed_pairs:
        return []
    rows = tuple(
        (
            pair.setting,
            pair.first,
            pair.second,
            number(pair.difference.value, sign="+"),
            ends(pair.difference.low, pair.difference.high, sign="+"),
            p_text(pair.raw_p),
            p_text(pair.difference.p),
        )
        for pair in study.seed_pairs
    )
    columns = ("setting", "first seed", "second seed", "difference", "95 %, items", "p, items", "p (Holm)")
    return [
        Heading(text="Seeds of the same setting"),
        Paragraph(text=training_noise(study)),
        TableBlock(columns=columns, rows=rows, left=3, caption="All pairs of seeds, by items alone", folded=True),
    ]


def _missing(study: Study) -> list[Block]:
    sentences = [f"{run.name}: {run.problem}" for run in study.unfinished] + list(study.notes)
    return [Heading(text="What is missing"), Bullets(items=tuple(sentences))] if sentences else []


def _section(title: str, drawn: Mapping[str, Drawn], name: str) -> list[Block]:
    return [Heading(text=title), *_picture(drawn, name)] if name in drawn else []


def _picture(drawn: Mapping[str, Drawn], name: str) -> list[Block]:
    if name not in drawn:
        return []
    one = drawn[name]
    return [Picture(file=one.file, svg=one.svg, description=one.description, caption=one.caption)]


def _slices(study: Study, drawn: Mapping[str, Drawn]) -> list[Block]:
    parts, rows = slices(study), []
    if not parts:
        return []
    shown = shown_settings(study)
    for part in parts:
        for setting, score in zip(shown, score_slice(study, shown, part), strict=True):
            numbers = (number(score.srocc), ends(score.interval.low, score.interval.high))
            bias = (number(score.bias, sign="+"), ends(score.bias_interval.low, score.bias_interval.high, sign="+"))
            rows.append(
                (
                    part.family,
                    part.name,
                    setting.name,
                    str(score.n),
                    *numbers,
                    *bias,
                    number(score.rmse),
                )
            )
    columns = ("cut by", "part", "setting", "n", "SROCC", "95 % interval", "mean error", "95 % interval", "RMSE")
    table = TableBlock(
        columns=columns, rows=tuple(rows), left=3, caption=f"All parts in numbers.{left_out(study)}", folded=True
    )
    return [*_section("Parts of the items", drawn, "slices"), table]


def _runs(study: Study) -> TableBlock:
    rows = tuple(
        (run.name, setting.name, run.seed, *(number(setting.metrics[name].of_seeds[place]) for name in PRINTED))
        for setting in study.settings
        for place, run in enumerate(setting.runs)
    )
    columns = ("run", "setting", "seed", *PRINTED.values())
    return TableBlock(columns=columns, rows=rows, left=2, caption=f"{len(rows)} runs in the tables", folded=True)
