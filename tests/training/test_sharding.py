"""Two processes that hold a model's shards compute what one with the whole model does, whatever each has to do."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CASES = [
    ("tiny", "av", "text", "32-true", {}, {}),
    ("tiny", "av", "levels", "bf16-mixed", {}, {}),
    ("videollama2", "av", "regression", "32-true", {}, {}),
    ("vqa2", "v", "conversation", "32-true", {"recompute": 1.0}, {}),
    ("qwen2_5_vl", "v", "text", "32-true", {}, {"freeze": ["language"]}),
]


@pytest.mark.slow
def test_shards_give_the_weights_gradients_and_scores_of_the_whole(twin, tmp_path):
    cases = [
        [name, modal, head, precision, twin(name) | arguments, recipe]
        for name, modal, head, precision, arguments, recipe in CASES
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    program = [sys.executable, "-m", "tests.training.sharded"]
    pair = [
        subprocess.Popen(
            [*program, str(rank), f"{tmp_path}/meeting", json.dumps(cases)],
            env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    try:
        outs = [process.communicate(timeout=150)[0] for process in pair]
    finally:
        for process in pair:
            process.kill()
    assert [process.returncode for process in pair] == [0, 0], "\n".join(outs)
