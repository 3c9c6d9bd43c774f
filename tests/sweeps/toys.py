"""A program with the project's own configuration whose job is a toy, run in processes of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent, indent

ROOT = Path(__file__).parents[2]
PROGRAM = dedent("""
    import os, sys, time
    from pathlib import Path
    from evqa.config.application import Application
    from evqa.errors import RunError

    def started(cfg):
        with (Path(cfg.run.root) / "trace").open("a") as file:
            file.write(f"{cfg.run.name} {cfg.seed} {cfg.optimizer.learning_rate}\\n")

    def job(cfg):
        started(cfg)
    BODY

    main = Application(name="toy", config_name="train", about="A toy.", job=job)
    if __name__ == "__main__":
        raise SystemExit(main())
""")


@dataclass
class Toy:
    """runs: where sweeps and the trace of started jobs lie."""

    folder: Path

    @property
    def runs(self):
        return self.folder / "runs"

    @property
    def trace(self):
        """Name, seed and learning rate of each job that was started, in order."""
        path = self.runs / "trace"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def members(self):
        """What the sweep's record says of each member."""
        return json.loads((self.runs / "sweeps/default/sweep.json").read_text())

    @property
    def statuses(self):
        return [member["status"] for member in self.members]

    @property
    def errors(self):
        return [member["error"] for member in self.members]

    def start(self, body, *arguments, **environment):
        """Start the program in a process group of its own."""
        self.runs.mkdir(exist_ok=True)
        program = self.folder / "toy.py"
        program.write_text(PROGRAM.replace("BODY", indent(dedent(body).strip(), "    ")))
        return subprocess.Popen(
            [sys.executable, program, f"run.root={self.runs}", *arguments],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background shell has it ignored
        )

    def run(self, body, *arguments, **environment):
        """Run to the end; returns exit code, output and errors."""
        process = self.start(body, *arguments, **environment)
        out, errors = process.communicate(timeout=240)
        return process.returncode, out, errors

    def kill_after(self, num_jobs, body, *arguments, **environment):
        """Start, wait until so many jobs have been started, then kill -9 everything."""
        process = self.start(body, *arguments, **environment)
        until = time.monotonic() + 120
        while len(self.trace) < num_jobs and time.monotonic() < until and process.poll() is None:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
