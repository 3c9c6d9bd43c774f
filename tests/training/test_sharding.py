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
    program = [sys.executable, "-m", "tests.training.sharded", f"{tmp_path}/meeting", json.dumps(cases)]
    done = subprocess.run(program, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("fits") == 2 * len(CASES)
