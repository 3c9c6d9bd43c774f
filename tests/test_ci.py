"""`.ci/run` installs what tests need or fails, and in CI no test is skipped for want of a program."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOOLS = ("bash", "dirname", "grep", "id", "mktemp", "rm", "sleep", "tail", "cat")
LOCKED = "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 1 (apt)"


def program(path, text):
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def ci(tmp_path):
    """Run a copy of `.ci/run` on a machine with few programs, whose apt-get is the given script."""

    def run(apt_get, *, present=()):
        home = tmp_path / "project"
        (home / ".ci").mkdir(parents=True)
        shutil.copy(ROOT / ".ci/run", home / ".ci/run")
        bin_ = tmp_path / "bin"
        bin_.mkdir()
        for tool in TOOLS:
            (bin_ / tool).symlink_to(shutil.which(tool))
        for name in present:
            program(bin_ / name, "true")
        program(bin_ / "apt-get", f'echo "$@" >> {tmp_path}/asked; {apt_get}')
        program(bin_ / "sudo", 'shift; exec "$@"')
        program(bin_ / "make", 'echo "make $@ with CI=$CI"')
        environment = {"PATH": str(bin_)}
        done = subprocess.run([home / ".ci/run"], env=environment, capture_output=True, text=True, timeout=60)
        asked = tmp_path / "asked"
        return done, asked.read_text().splitlines() if asked.exists() else []

    return run


def test_nothing_is_installed_where_all_programs_are_there(ci):
    programs = ("slurmctld", "slurmd", "sinfo", "munged", "chromium", "python3.11", "python3.13")
    done, asked = ci("exit 1", present=programs)
    assert (done.returncode, done.stdout, asked) == (0, "make check with CI=true\n", [])


def test_missing_programs_are_installed_before_the_check(ci):
    done, asked = ci("exit 0")
    assert (done.returncode, done.stdout) == (0, "make check with CI=true\n")
    packages = "slurmctld slurmd slurm-client munge chromium python3.12-venv"
    assert asked == ["-qq update", f"-qq install -y --no-install-recommends {packages}"]


def test_a_lock_that_another_program_holds_is_waited_for(ci, tmp_path):
    done, asked = ci(f'[ $(grep -c . {tmp_path}/asked) -ge 3 ] || {{ echo "{LOCKED}" >&2; exit 100; }}')
    assert (done.returncode, done.stdout) == (0, "make check with CI=true\n")
    assert [line.split()[1] for line in asked] == ["update", "update", "update", "install"]


def test_a_failed_installation_fails_ci_and_says_why(ci):
    done, asked = ci('[ "$2" = update ] || { echo "E: Unable to locate package chromium" >&2; exit 100; }')
    assert (done.returncode, done.stdout, len(asked)) == (1, "", 2)
    assert done.stderr == (
        "E: Unable to locate package chromium\n"
        ".ci/run: could not install slurmctld slurmd slurm-client munge chromium python3.12-venv,"
        " which tests need. Install them, then run it again.\n"
    )


SKIPPING = """
import pytest

@pytest.fixture
def program(): pytest.skip("it is missing")

@pytest.mark.slurm
@pytest.mark.skipif(True, reason="there is no cluster")
def test_of_a_cluster(): pass

@pytest.mark.browser
def test_of_a_browser(program): pass

@pytest.mark.gpu
def test_of_a_gpu(program): pass
"""


@pytest.mark.parametrize(("ci", "outcomes"), [("true", ("ERROR", "ERROR", "SKIPPED")), ("", ("SKIPPED",) * 3)])
def test_in_ci_a_missing_cluster_or_browser_is_an_error_and_no_skip(tmp_path, ci, outcomes):
    (tmp_path / "conftest.py").write_text("from tests.conftest import pytest_runtest_makereport\n")
    (tmp_path / "test_skipping.py").write_text(SKIPPING)
    command = [sys.executable, "-m", "pytest", "-v", "-ra", "-p", "no:cacheprovider", "--rootdir", tmp_path, tmp_path]
    environment = {**os.environ, "CI": ci, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    named = re.findall(r"::test_of_a_(\w+) (ERROR|SKIPPED|PASSED)", done.stdout)
    assert named == list(zip(("cluster", "browser", "gpu"), outcomes, strict=True))
    told = "may not be skipped in CI (slurm): Skipped: there is no cluster"
    assert (told in done.stdout) == (ci == "true")
