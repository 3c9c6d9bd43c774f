"""The command of a finished run answers before anything heavy is imported."""

import json
import subprocess
import sys

PROGRAM = """
import json, resource, sys
from evqa.train import main
status = main(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_SELF)
heavy = [name for name in ("torch", "lightning", "av", "scipy", "wandb", "transformers") if name in sys.modules]
print(json.dumps([status, heavy, used.ru_utime + used.ru_stime]), file=sys.stderr)
"""
CPU_SECONDS = 2.0  # half of it on a machine that does nothing else


def test_a_finished_run_says_so_and_prints_its_results_without_torch(finished, small):
    done = subprocess.run([sys.executable, "-c", PROGRAM, *small], capture_output=True, text=True, check=True)
    status, heavy, seconds = json.loads(done.stderr.splitlines()[-1])
    assert (status, heavy) == (0, [])
    assert done.stdout.startswith(f"{finished.path} is finished already; nothing to do.\n")
    assert "\nval: n=16, 0 failed\n" in done.stdout  # behind the splits that other tests have scored
    assert f"Predictions: {finished.path}/predictions" in done.stdout
    assert seconds < CPU_SECONDS, f"{seconds:.1f} s of CPU"
