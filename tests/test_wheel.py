"""The wheel, installed without the lock beside the newest releases of everything, on every Python of this machine."""

import csv
import math
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
VERSIONS = [
    words[-1]
    for words in map(str.split, tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"])
    if words[-2] == "::" and "." in words[-1]
]
TRAIN = (
    "train -m modal=av trainer.epochs=1 data.num_train=32 data.num_val=16 data.batch_size=8 data.workers=0 "
    "model.width=16 trainer.progress=false"
)


def run(*command, cwd, timeout=600, **environment):
    """Run a command that knows nothing of this checkout and its environment; it must succeed."""
    known = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV", "COV"))}
    known |= {"OMP_NUM_THREADS": "1", **environment}
    done = subprocess.run(command, cwd=cwd, env=known, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done


def find_python(version):
    """A Python of this version that can make environments: from the search path, or one that pyenv has built."""
    built = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    for found in (shutil.which(f"python{version}"), *sorted(built.glob(f"{version}.*/bin/python{version}"))):
        if found and not subprocess.run([found, "-c", "import ensurepip"], capture_output=True).returncode:
            return found
    return None


PYTHONS = {version: find_python(version) for version in VERSIONS}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT, cwd=folder)
    (built,) = folder.glob("evqa-*.whl")
    return built


@pytest.fixture
def installed(wheel, tmp_path, request):
    """The programs' folder of a fresh environment; which build of torch it has is up to pip's settings."""
    if not (python := PYTHONS[request.param]):
        pytest.skip(f"no Python {request.param} on this machine")
    home = tmp_path / "environment"
    try:
        run(python, "-m", "venv", home, cwd=tmp_path)
        run(home / "bin/python", "-m", "pip", "install", "--quiet", "--no-compile", wheel, cwd=tmp_path)
        yield home / "bin"
    finally:
        shutil.rmtree(home, ignore_errors=True)  # gigabytes


def test_ci_installs_the_wheel_on_two_pythons():
    found = [version for version, python in PYTHONS.items() if python]
    assert len(found) >= 2 or os.environ.get("CI") != "true", f"Only {found} of {VERSIONS}: install another Python"


@pytest.mark.slow
@pytest.mark.parametrize("installed", VERSIONS, indirect=True)
def test_the_installed_wheel_trains_scores_and_is_loaded(installed, tmp_path):
    evqa = installed / "evqa"
    place = "import evqa; print(evqa.__file__)"
    assert run(installed / "python", "-c", place, cwd=tmp_path).stdout.startswith(str(installed.parent))

    assert "-F _evqa evqa" in run(evqa, "completion", "bash", cwd=tmp_path).stdout
    told = run(evqa, *TRAIN.split(), cwd=tmp_path).stderr
    assert "Warning" not in told, told
    (folder,) = tmp_path.glob("runs/default/tiny-*")
    with (folder / "predictions/val.csv").open() as file:
        scores = {row["Id"]: float(row["ECR"]) for row in csv.DictReader(file)}
    assert len(scores) == 16
    assert all(map(math.isfinite, scores.values()))

    (videos,) = tmp_path.glob("cache/synthetic/*/videos")
    clip = videos / f"{min(scores)}.mp4"
    (line,) = run(evqa, "predict", clip, "--scorer", folder, cwd=tmp_path).stdout.splitlines()
    assert math.isfinite(float(line.split("\t")[1]))
    code = f"import evqa; [print(score.value) for score in evqa.load({str(folder)!r}).score([{str(clip)!r}])]"
    assert float(run(installed / "python", "-c", code, cwd=tmp_path).stdout) == float(line.split("\t")[1])
