"""A program that scores one file pays for what scoring needs, and not for what training needs."""

import json
import math
import subprocess
import sys

PROGRAM = """
import json, resource, sys
from evqa.predict import main
main(sys.argv[1:])
used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
names = {name for name in sys.modules if "." not in name} | {"torch._dynamo", "torch._inductor"} & sys.modules.keys()
print(json.dumps([sorted(names), *(one.ru_utime + one.ru_stime for one in used)]), file=sys.stderr)
"""
OF_TRAINING = {"lightning", "torchmetrics", "peft", "transformers", "scipy", "matplotlib", "wandb", "sympy"}
OF_COMPILING = {"torch._dynamo", "torch._inductor"}
CPU_SECONDS = 6.0


def test_the_first_score_takes_one_process_and_few_seconds_and_imports_nothing_for_training(finished, clips):
    arguments = [sys.executable, "-c", PROGRAM, str(clips[0]), "--scorer", str(finished.path)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert math.isfinite(float(done.stdout.split("\t")[1]))
    imported, seconds, of_children = json.loads(done.stderr.splitlines()[-1])
    assert "torch" in imported
    assert not (OF_TRAINING | OF_COMPILING) & set(imported)
    assert seconds < CPU_SECONDS, f"{seconds:.1f} s of CPU"
    assert of_children == 0.0  # a few files are read in this process


def test_no_evaluation_imports_what_is_for_training_alone():
    names = "evaluation, data_sets, q_bench_video"
    program = f"import sys; from evqa.runs import {names}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    imported = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "torch" in imported
    assert not OF_TRAINING & set(imported)
