"""The README.md of an exported scorer: what it is, how good it is, and what it must be fed with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from evqa.config.metric_names import PRINTED, with_groups
from evqa.models.base import RANDOM_WEIGHTS
from evqa.prompts.prompt import Prompt, with_quantity


def model_card(about: dict[str, Any], records: Sequence[dict[str, Any]]) -> str:
    """Write the card.

    about: content of `evqa.json`. records: evaluation records (`predictions/<split>.json`) with their `name`.
    """
    sections = (_header(about), _what(about), _metrics(records), _inputs(about), _files(about))
    return "\n\n".join(sections) + "\n"


def _header(about: dict[str, Any]) -> str:
    is_text = about["config"]["head"]["_target_"].endswith("TextHead")
    library = "peft" if about["form"] == "adapter" else "transformers" if about["class"] else "evqa"
    lines = [
        "---",
        f"library_name: {library}",
        f"pipeline_tag: {'video-text-to-text' if is_text else 'video-classification'}",
        "tags: [evqa, video-quality-assessment, engagement-prediction]",
        *_license(about),
        *([f"base_model: {about['base']}"] if _is_hub_name(about["base"]) else []),
        *([f"base_model_revision: {about['base_revision']}"] if about["base_revision"] else []),
        "---",
    ]
    return "\n".join(lines)


def _license(about: dict[str, Any]) -> list[str]:
    """The base's license: what is made of its weights stands under it."""
    return [f"{key}: {value}" for key, value in (about["license"] or {}).items() if key != "note"]


def _is_hub_name(base: str) -> bool:
    return base.count("/") == 1


def _what(about: dict[str, Any]) -> str:
    config, label = about["config"], about["label"]
    low, high = label["range"]
    form = "adapter and fully trained parts" if about["form"] == "adapter" else "merged weights"
    return f"""# A video scorer: {_class(config["model"])}, modal={config["modal"]["name"]}

It predicts `{label["name"]}` on a scale from {low:g} to {high:g} (higher is better; scores are not clipped). Scores are
rank-like predictions, not calibrated probabilities.

* Base: {about["base"]}{f" at {about['base_revision']}" if about["base_revision"] else ""}
* License: {_terms(about)}
* Content: {form}, trained with evqa {about["evqa"]} (tuning: {_tuning(config["lora"])})
* Written with {", ".join(f"{name} {version}" for name, version in about["versions"].items())}
* Head: {_class(config["head"])} {_arguments(config["head"])}"""


def _terms(about: dict[str, Any]) -> str:
    """Say under which terms the weights stand, as far as it is known here."""
    if terms := about["license"]:
        note = f" ({terms['note']})" if terms["note"] else ""
        return f"{terms.get('license_name', terms['license'])}{note}, the base's"
    if about["base"] == RANDOM_WEIGHTS:
        return "yours to choose; there is no base whose terms would hold"
    return f"that of the base {about['base']}, which is not known here"


def _metrics(records: Sequence[dict[str, Any]]) -> str:
    head = "| predictions | modal | n | failed | " + " | ".join(PRINTED.values()) + " |"
    rule = "|---" * (4 + len(PRINTED)) + "|"
    rows = [
        f"| {record['name']} | {record['modal']} | {with_groups(record['n'], record.get('num_groups'))} | "
        f"{record['num_failed']} | " + " | ".join(_value(record["metrics"].get(name)) for name in PRINTED) + " |"
        for record in records
    ]
    note = (
        "With 95 % bootstrap intervals over videos, or over groups of them where n says how many. PLCC is on raw "
        "scores. Failed items have no score."
    )
    return "\n".join(["## How good it is", "", head, rule, *rows, "", note])


def _value(metric: dict[str, Any] | None) -> str:
    if metric is None or metric["value"] is None:
        return "-"
    interval = "" if metric["low"] is None else f" ({metric['low']:.4f} to {metric['high']:.4f})"
    return f"{metric['value']:.4f}{interval}"


def _inputs(about: dict[str, Any]) -> str:
    clip = about["clip"]
    frames = "none" if clip["frames"] is None else f"{_listed(clip['frames'])}{_times(about)}"
    audio = "none" if clip["audio"] is None else f"{_listed(clip['audio'])}, 16 kHz mono, as {clip['audio_as']}"
    return f"""## What it must be fed with

Another reading of the media than this is another scorer.

* Frames: {frames}
* Resizing: {_listed(clip["resize"]) if clip["resize"] else "none"}{_grid(about)}
* Sound: {audio}
* Question: {json.dumps(about["prompt"]["question"], ensure_ascii=False)}; absent texts are
  {json.dumps(about["prompt"]["missing"], ensure_ascii=False)}
* Answer: {json.dumps(_answer(about), ensure_ascii=False)}"""


def _answer(about: dict[str, Any]) -> str:
    words = str(about["config"]["head"].get("prefix", about["prompt"]["answer"]))
    return with_quantity(words, Prompt(quantity=about["prompt"]["quantity"]))


def _times(about: dict[str, Any]) -> str:
    """When the frames are taken, by example: a policy's name says it to evqa alone."""
    examples = (f"of a clip of {length} at {', '.join(f'{t:g}' for t in seconds)} s" for length, seconds in
                about["frame_seconds"].items())  # fmt: skip
    return "; " + "; ".join(examples)


def _grid(about: dict[str, Any]) -> str:
    """Time between two steps of a Qwen model's grid of tokens, where the model has such a setting."""
    settings = about["config"]["model"]
    if "seconds_per_grid" not in settings or about["clip"]["frames"] is None:
        return ""
    seconds = settings["seconds_per_grid"]
    meaning = "from the frames' own times" if seconds is None else f"{seconds:g}"
    return f"\n* Seconds per grid step (two frames): {meaning}"


def usage(about: dict[str, Any]) -> str:
    """Say how an export is loaded, and what others make of it."""
    if about["form"] != "adapter":
        return str(about["use"])
    base = f"`{about['class']}`" if about["class"] else "the model"
    load = f"Load {base} from the base, then this folder with `peft.PeftModel.from_pretrained(base, FOLDER)`."
    return f"{load}\nIt needs the versions above or later ones: layers are found by the names they have there."


def _files(about: dict[str, Any]) -> str:
    return f"""## Files

{usage(about)}

`head.safetensors` holds the head's layers (fc1, ReLU, fc2 on the mean of the last hidden states over real
positions, on a scale of 0-100; absent for heads without weights), `evqa.json` every setting above for
machines."""


def _class(node: dict[str, Any]) -> str:
    return str(node["_target_"]).rpartition(".")[2]


def _tuning(node: dict[str, Any]) -> str:
    if node["method"] == "full":
        return "full"
    return f"{node['method']}, rank {node['rank']}, alpha {node['alpha']}, on {', '.join(node['adapt'])}"


def _arguments(node: dict[str, Any]) -> str:
    return _listed({key: value for key, value in node.items() if key != "_target_" and value is not None})


def _listed(values: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in values.items())
