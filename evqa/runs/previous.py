"""A training that goes on from another run: that run's best weights, merged once into its own folder."""

from __future__ import annotations

from pathlib import Path

from evqa.errors import RunError
from evqa.files.terminal import terminal
from evqa.models.weight_files import MERGED, is_run
from evqa.runs.merging import export_run
from evqa.training.folder import RunFolder
from evqa.training.plan import RunPlan

PATIENCE_SECONDS = 3600.0  # for other processes of the same training, one of which merges


def merge_previous(plan: RunPlan) -> None:
    """Merge the run that `model.checkpoint` names; nothing where it names none, or where that is done.

    Raises:
        RunError: there is no such run, or it is not finished.
    """
    named = plan.recorded.model.get("checkpoint")
    if not isinstance(named, str):
        return
    path = Path(named).expanduser()
    if not is_run(path):
        _check_there(path, named, root=Path(plan.recorded.run.root))
        return
    if not RunFolder(path).is_finished:
        raise RunError(
            f"model.checkpoint={named}: this run is not finished. Start it again to let it go on to its end."
        )
    with RunFolder(path).lock(patience_s=PATIENCE_SECONDS):
        if not (path / MERGED).exists():
            terminal().print(f"Merging the best weights of {named} into its folder {MERGED}/, once.", markup=False)
            export_run(path, out=path / MERGED)


def _check_there(path: Path, named: str, *, root: Path) -> None:
    """Name the recipe of a run that is missing, where its place tells."""
    if not path.exists() and path.parent.parent == root:
        recipe = f"python -m evqa.train experiment={path.parent.name}"
        raise RunError(f"model.checkpoint={named}: there is no such run yet. If a recipe makes it: {recipe}")
