"""Still images are trained on, evaluated and predicted, from tables and from folders, with the same scores."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evqa.training.folder import RunFolder
from tests.runs.test_agreement import read

FRESH = Path(__file__).with_name("fresh.py")
CHEAP = (
    *("model=vqa2_tiny", "modal=v", "frames=each_second", "head=levels", "prompt=quality", "trainer.epochs=1"),
    *("data.batch_size=4", "data.workers=0", "trainer.progress=false", "logger=csv", "optimizer.learning_rate=1e-3"),
)
HOSTILE = {
    "cut": "is a still image that cannot be decoded; it is damaged or cut off",
    "other": "is a still image of the format BMP, which is not read; convert it to PNG, JPEG or WebP",
    "empty": "is empty (0 bytes); download or copy it again",
}
SHAPES = [(40, 60), (90, 50), (1, 5000), (300, 1), (1, 1), (130, 110)]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder of 12 images, one of no colour and one that is transparent, and three that cannot be read."""
    folder, draw = tmp_path_factory.mktemp("images") / "images", np.random.default_rng(0)
    (folder / "sub").mkdir(parents=True)
    for number in range(12):
        image = Image.fromarray(draw.integers(0, 256, (*SHAPES[number % 6], 3), dtype=np.uint8))
        mode, suffix = {3: ("L", "jpg"), 7: ("RGBA", "png")}.get(number, ("RGB", ("jpg", "png", "webp")[number % 3]))
        image.convert(mode).save(folder / f"sub/{number}.{suffix}")
    whole = (folder / "sub/1.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    Image.new("RGB", (9, 9)).save(folder / "other.jpg", format="BMP")
    (folder / "empty.webp").touch()
    return folder


def test_images_of_a_table_and_of_a_folder_have_the_same_scores(images, tmp_path):
    names = sorted(path.name for path in (images / "sub").iterdir())
    table = tmp_path / "mos.csv"
    table.write_text("\n".join(["image_name,MOS", *(f"sub/{name},{at % 5 + 1}" for at, name in enumerate(names))]))
    places = (f"data.prepared={tmp_path}/prepared", f"data.cache.folder={tmp_path}/cache", f"run.root={tmp_path}")
    own = ("data=table", f"data.path={table}", f"data.root={images}", "data.id_column=image_name", "run.name=run")
    labels = ("data.label.name=MOS", "data.label.range=[1,5]", "data.val_fraction=0.5")
    run = RunFolder(tmp_path / "default/run")
    scorer = ["--scorer", str(run.path), "--json"]
    commands = [
        ["train", [*CHEAP, *own, *labels, *places]],
        ["eval", [str(run.path)]],
        ["predict", [str(table), "--videos", str(images), *scorer]],
        ["predict", [str(images), *scorer, "--override", "data.cache.folder=null"]],
    ]
    lines = [json.loads(line) for line in in_a_process(commands, tmp_path).splitlines() if line.startswith("{")]
    of_table, of_folder = lines[:12], lines[12:]
    trained = read(run.prediction("val"))
    assert len(trained) == 6
    assert read(run.prediction("val-eval")) == pytest.approx(trained, abs=1e-5)
    scores = {row["id"]: row["score"] for row in of_table}
    assert {name: scores[name] for name in trained} == pytest.approx(trained, abs=1e-5)
    assert {row["id"]: row["error"] for row in of_folder if "error" in row} == HOSTILE
    decoded = {row["id"]: row["score"] for row in of_folder if "score" in row}
    assert decoded == pytest.approx({name.rpartition(".")[0]: score for name, score in scores.items()}, abs=1e-5)
    transparent = "the image's transparency is left out"
    for row in (*of_table, *of_folder):
        if "score" in row:
            left_out = [transparent] if row["id"].startswith("sub/7") else []
            assert row["missing"] == [*left_out, "no motion: the file is a still image"]


def in_a_process(commands, folder):
    (folder / "commands.json").write_text(json.dumps(commands))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(FRESH.parents[2])}
    program = [sys.executable, FRESH, folder / "commands.json"]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
