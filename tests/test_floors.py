"""Imports go down only: a module imports from lower floors, and on its own floor only inside its own folder."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "evqa"
FLOORS = {
    0: ("types", "errors", "__init__"),
    1: ("files", "machine"),
    2: ("config",),
    3: ("media", "metrics", "prompts"),
    4: ("models", "heads", "datasets", "ensembling", "reporting"),
    5: ("training",),
    6: ("scoring",),
    7: ("runs", "benchmarking"),
    8: ("train", "prepare", "eval", "predict", "ensemble", "report", "submit", "benchmark", "merge", "cli", "__main__"),
}
FLOOR_OF = {room: floor for floor, rooms in FLOORS.items() for room in rooms}
# Rooms of one floor that may see each other in this order (left sees right), because they are one story.
STAIRS = [
    ("types", "errors"),
    ("__init__", "machine"),
    ("prompts", "media"),
    ("benchmarking", "runs"),
    ("models", "heads"),
]
THIRD_PARTY = {
    "transformers": ("models", "heads", "training"),
    "peft": ("training", "models"),
    "lightning": ("training", "scoring", "runs", "benchmarking"),
    "av": ("media", "benchmarking"),
    "decord": ("media", "benchmarking"),
    "soundfile": ("media",),
    "torchvision": (),
    "torchaudio": (),
    "timm": (),
    "pandas": (),
}
MODULES = sorted(ROOT.rglob("*.py"))


def room_of(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path):
    """Yield (module, whether it is imported at the top of the file)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module, id(node) in top


def may_see(room, other):
    if room == other or FLOOR_OF[other] < FLOOR_OF[room]:
        return True
    if FLOOR_OF[room] == 8:
        return other == "cli"
    return any(room in stair and other in stair and stair.index(room) < stair.index(other) for stair in STAIRS)


def test_every_module_has_a_floor():
    assert {room_of(path) for path in MODULES} <= FLOOR_OF.keys()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path):
    room = room_of(path)
    inner = [name.split(".")[1] for name, _ in imports(path) if name.startswith("evqa.")]
    wrong = sorted({other for other in inner if not may_see(room, other)})
    assert not wrong, f"{path.relative_to(ROOT)} (floor {FLOOR_OF[room]}) imports {wrong}"
    outer = {name.partition(".")[0] for name, _ in imports(path)}
    assert not [name for name in outer & THIRD_PARTY.keys() if room not in THIRD_PARTY[name]]


@pytest.mark.parametrize("command", FLOORS[8])
def test_commands_import_nothing_heavy_at_the_top(command):
    path = ROOT / f"{command}.py"
    heavy = {"torch", "lightning", "transformers", "numpy", "scipy", "wandb", "matplotlib"}
    top = {name.partition(".")[0] for name, at_top in imports(path) if at_top}
    assert not top & heavy
