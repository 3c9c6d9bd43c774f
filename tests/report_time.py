"""Time and memory of a report: python -m tests.report_time [--settings 60] [--seeds 1] [--items 8459].

Makes runs out of numbers, with two columns of tags, and reports on them in a process of its own (docs/reports.md).
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from tests.reporting.conftest import write_run

MODALS = ("v", "av", "a")


def write_runs(root, *, num_settings, num_seeds, n):
    """Runs of three modalities and as many ranks of LoRA as that takes."""
    drawn = np.random.default_rng(0).integers(0, [8, 4], (n, 2))
    tags = ["category,language", *(f"c{category},l{language}" for category, language in drawn)]
    for place in range(num_settings):
        for seed in range(num_seeds):
            modal, rank = MODALS[place % 3], place // 3
            given = [f"modal={modal}", f"lora.rank={rank}", f"seed={seed}"]
            numbers = {"seed": 100 * rank + seed, "noise": 0.05, "n": n, "config": {"seed": seed}}
            folder = write_run(root, modal=modal, overrides=given, name=f"{modal}-r{rank}-s{seed}", **numbers)
            targets = folder / "predictions" / "val.targets.csv"
            lines = targets.read_text().splitlines()
            targets.write_text("\n".join(f"{line},{tag}" for line, tag in zip(lines, tags, strict=True)) + "\n")


if __name__ == "__main__":
    flags = argparse.ArgumentParser(prog="python -m tests.report_time", description=__doc__.splitlines()[0])
    for name, number in (("settings", 60), ("seeds", 1), ("items", 8459)):
        flags.add_argument(f"--{name}", type=int, default=number, help=f"default: {number}")
    given = flags.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_runs(root / "runs", num_settings=given.settings, num_seeds=given.seeds, n=given.items)
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        command = [sys.executable, "-m", "evqa.report", root / "runs", "--out", root / "report"]
        subprocess.run([*command, "--baseline", "modal=v"], check=True, stdout=subprocess.DEVNULL)
        wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{wall:.0f} s, of which {cpu:.0f} s on the processor; {after.ru_maxrss / 1e6:.2f} GB")
