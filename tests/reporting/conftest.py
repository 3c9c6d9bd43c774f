"""Run folders as `evqa.train` leaves them, made of numbers: no training."""

import json

import numpy as np
import pytest
import yaml

from evqa.metrics import evaluate, write_scores

N = 120


@pytest.fixture(scope="session")
def make_run():
    return write_run


@pytest.fixture(scope="session")
def keep():
    return keep_part


def keep_part(folder, *, part):
    """Leave a run the predictions of every third item alone, as if the others had been trained on."""
    for name in ("val.csv", "val.targets.csv"):
        path = folder / "predictions" / name
        header, *rows = path.read_text().splitlines()
        path.write_text("\n".join([header, *rows[part::3]]) + "\n")
    path = folder / "predictions" / "val.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"n": len(rows[part::3])}))


def write_run(
    root,
    *,
    modal="av",
    seed=0,
    noise=0.02,
    overrides=None,
    finished=True,
    targets=True,
    config=None,
    n=N,
    name=None,
    experiment="audio_ablation",
):
    """A run whose label is a sum of seen, heard and read factors; `noise` is that of training."""
    facts = np.random.default_rng(5)
    seen, heard, read, rest = facts.normal(size=(4, n))
    label = np.argsort(np.argsort(seen + heard + read + 0.4 * rest)) / (n - 1)
    parts = {"a": heard + read, "v": seen + read, "av": seen + heard + read}[modal]
    training = np.random.default_rng([seed, len(modal), ord(modal[0])])
    scores = 0.5 + 0.16 * (parts + 0.35 * facts.normal(size=n) + noise * 10 * training.normal(size=n))
    folder = root / experiment / (name or f"tiny-{modal}-regression-s{seed}")
    (folder / "predictions").mkdir(parents=True)
    resolved = {
        "model": {"_target_": "evqa.models.tiny.Tiny", "width": 64},
        "modal": {"name": modal, "dropout": 0.0},
        "seed": seed,
        "run": {"root": str(root), "name": folder.name},
        **(config or {}),
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(resolved))
    given = [f"modal={modal}", f"seed={seed}"] if overrides is None else overrides
    (folder / "overrides.yaml").write_text(yaml.safe_dump(given))
    _write_history(folder, modal=modal, training=training, num_steps=200 if finished else 70)
    if finished:
        _write_predictions(folder, scores, label, targets=targets)
        (folder / "predictions" / "finished").touch()
    return folder


def _write_history(folder, *, modal, training, num_steps):
    top = {"a": 0.7, "v": 0.7, "av": 0.9}[modal]
    with (folder / "metrics.jsonl").open("w") as file:
        for step in range(9, num_steps, 10):
            loss = 0.02 + 0.08 * np.exp(-step / 60) + 0.004 * training.normal()
            file.write(json.dumps({"step": step, "epoch": step // 50, "train/loss": loss}) + "\n")
            if step % 50 == 49:
                value = top * (1 - np.exp(-step / 50)) + 0.01 * training.normal()
                file.write(
                    json.dumps({"step": step, "epoch": step // 50, "val/challenge": value, "val/srocc": value}) + "\n"
                )
        file.write('{"step": 999, "train/lo')


def _write_predictions(folder, scores, label, *, targets):
    ids = [f"clip_{place:04d}" for place in range(len(label))]
    write_scores(folder / "predictions" / "val.csv", dict(zip(ids, scores, strict=True)), label="ECR")
    record = {
        **evaluate(scores, label, num_resamples=200, fitted=False).to_json(),
        "label": {"name": "ECR", "range": [0, 1]},
        "split": "val",
        "checkpoint": "best.ckpt",
    }
    (folder / "predictions" / "val.json").write_text(json.dumps(record))
    if targets:
        facts = np.random.default_rng(6)
        lines = ["Id,ECR,duration,has_audio,title_chars,description_chars"]
        for id_, y in zip(ids, label, strict=True):
            chars = facts.integers(0, 3, 2) * 17
            lines.append(f"{id_},{float(y)!r},{facts.uniform(3, 45):.2f},{facts.random() < 0.85},{chars[0]},{chars[1]}")
        (folder / "predictions" / "val.targets.csv").write_text("\n".join(lines) + "\n")
