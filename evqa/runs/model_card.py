"""The README.md of an exported scorer: what it is, how good it is, and what it must be fed with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

METRICS = {"srocc": "SROCC", "plcc": "PLCC", "krocc": "KROCC", "rmse": "RMSE", "challenge": "0.6 SROCC + 0.4 PLCC"}


def model_card(about: dict[str, Any], records: Sequence[dict[str, Any]]) -> str:
    """Write the card.

    about: content of `evqa.json`. records: evaluation records (`predictions/<split>.json`) with their `name`.
    """
    sections = (_header(about), _what(about), _metrics(records), _inputs(about), _files(about))
    return "\n\n".join(sections) + "\n"


def _header(about: dict[str, Any]) -> str:
    base, _, revision = about["base"].partition("@")
    is_hub_name = base.count("/") == 1
    lines = [
        "---",
        f"library_name: {'peft' if about['form'] == 'adapter' else 'transformers' if is_hub_name else 'evqa'}",
        "tags: [evqa, video-quality-assessment, engagement-prediction]",
        *([f"base_model: {base}"] if is_hub_name else []),
        *([f"base_model_revision: {revision}"] if is_hub_name and revision else []),
        "---",
    ]
    return "\n".join(lines)


def _what(about: dict[str, Any]) -> str:
    config, label = about["config"], about["label"]
    low, high = label["range"]
    form = "adapter and fully trained parts" if about["form"] == "adapter" else "merged weights"
    return f"""# A video scorer: {_class(config["model"])}, modal={config["modal"]["name"]}

It predicts `{label["name"]}` on a scale from {low:g} to {high:g} (higher is better; scores are not clipped). Scores are
rank-like predictions, not calibrated probabilities.

* Base: {about["base"]}
* Content: {form}, trained with evqa {about["evqa"]} (tuning: {_tuning(config["lora"])})
* Head: {_class(config["head"])} {_arguments(config["head"])}"""


def _metrics(records: Sequence[dict[str, Any]]) -> str:
    head = "| predictions | modal | n | failed | " + " | ".join(METRICS.values()) + " |"
    rule = "|---" * (4 + len(METRICS)) + "|"
    rows = [
        f"| {record['name']} | {record['modal']} | {record['n']} | {record['num_failed']} | "
        + " | ".join(_value(record["metrics"].get(name)) for name in METRICS)
        + " |"
        for record in records
    ]
    note = "With 95 % bootstrap intervals over videos. PLCC is on raw scores. Failed items have no score."
    return "\n".join(["## How good it is", "", head, rule, *rows, "", note])


def _value(metric: dict[str, Any] | None) -> str:
    if metric is None or metric["value"] is None:
        return "-"
    interval = "" if metric["low"] is None else f" ({metric['low']:.4f} to {metric['high']:.4f})"
    return f"{metric['value']:.4f}{interval}"


def _inputs(about: dict[str, Any]) -> str:
    clip = about["clip"]
    frames = "none" if clip["frames"] is None else _listed(clip["frames"])
    audio = "none" if clip["audio"] is None else f"{_listed(clip['audio'])}, 16 kHz mono, as {clip['audio_as']}"
    return f"""## What it must be fed with

Another reading of the media than this is another scorer.

* Frames: {frames}
* Resizing: {_listed(clip["resize"])}
* Sound: {audio}
* Question: {json.dumps(about["prompt"]["question"], ensure_ascii=False)}; absent texts are
  {json.dumps(about["prompt"]["missing"], ensure_ascii=False)}
* Answer: {json.dumps(_answer(about), ensure_ascii=False)}"""


def _answer(about: dict[str, Any]) -> str:
    return str(about["config"]["head"].get("prefix", about["prompt"]["answer"]))


def _files(about: dict[str, Any]) -> str:
    if about["form"] == "adapter":
        use = "Load the base, then this folder with `peft.PeftModel.from_pretrained(base, FOLDER)`."
    elif "checkpoint" in about["config"]["model"]:
        use = "Give this folder to evqa as `model.checkpoint=FOLDER`, or to the base's own code."
    else:
        use = f"`model.safetensors` is a state dict of `{about['config']['model']['_target_']}`."
    return f"""## Files

{use}

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
