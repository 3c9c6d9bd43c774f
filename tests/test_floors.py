"""Imports go down only: a module imports from lower floors, and on its own floor only inside its own folder.

Imports inside functions and under TYPE_CHECKING count like all others.
"""

import ast
import graphlib
from collections import defaultdict
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
ROOT = CHECKOUT / "evqa"
PLUGINS = CHECKOUT / "hydra_plugins"
FLOORS = {
    0: ("types", "errors"),
    1: ("files", "machine"),
    2: ("config",),
    3: ("media", "metrics", "prompts"),
    4: ("models", "heads", "datasets", "ensembling", "reporting", "completion", "hydra_plugins"),
    5: ("training",),
    6: ("scoring",),
    7: ("runs", "benchmarking", "explaining", "web"),
    8: (
        "train",
        "prepare",
        "eval",
        "predict",
        "ask",
        "explain",
        "serve",
        "ensemble",
        "report",
        "submit",
        "benchmark",
        "calibrate",
        "merge",
        "cli",
        "__main__",
    ),
    9: ("__init__",),
}
FLOOR_OF = {room: floor for floor, rooms in FLOORS.items() for room in rooms}
# Rooms of one floor that may see each other in this order (left sees right), because they are one story.
STAIRS = [
    ("types", "errors"),
    ("prompts", "media"),
    ("runs", "benchmarking"),
    ("models", "heads"),
    ("web", "explaining"),
    ("web", "runs"),
]
THIRD_PARTY = {
    "transformers": ("models", "heads", "training"),
    "peft": ("training", "models"),
    "lightning": ("training", "scoring", "runs", "benchmarking"),
    "av": ("media", "benchmarking"),
    "decord": ("media", "benchmarking"),
    "soundfile": ("media",),
    "gradio": ("web",),
    "openai": ("scoring",),
    "torchvision": (),
    "torchaudio": (),
    "timm": (),
    "pandas": (),
}
MODULES = sorted([*ROOT.rglob("*.py"), *PLUGINS.rglob("*.py")])
AT_THE_ROOT = {*FLOORS[8], "types", "errors", "__init__"}
MOST_LINES = 300
# To go: what was so before there was a rule.
SHARED_NAMES_TO_GO = {"Inputs", "Kind"}


def name_of(path):
    """The dotted name under which a file is imported."""
    return ".".join(path.relative_to(CHECKOUT).with_suffix("").parts).removesuffix(".__init__")


NAMES = {name_of(path): path for path in MODULES}


def room_of(path):
    if path.name == "__main__.py":  # a command
        return "__main__"
    top, inner, *_ = path.relative_to(CHECKOUT).parts
    return inner.removesuffix(".py") if top == "evqa" else top


def sources(node, path):
    """The modules that a statement may import: of `from a import b` both a and a.b."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    package = name_of(path) if path.name == "__init__.py" else name_of(path).rpartition(".")[0]
    parts = package.split(".")
    base = parts[: len(parts) - node.level + 1] if node.level else []
    module = ".".join([*base, *([node.module] if node.module else [])])
    return [module, *(inner for alias in node.names if (inner := f"{module}.{alias.name}") in NAMES)]


def imports(path):
    """Yield (module, whether it is imported at the top of the file)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        yield from ((name, id(node) in top) for name in sources(node, path))


def first_cycle(graph):
    """Names of modules that import each other in a circle, the first again at the end; nothing where there are none."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


def may_see(room, other):
    if room == other or FLOOR_OF[other] < FLOOR_OF[room]:
        return True
    if FLOOR_OF[room] == 8:
        return other == "cli"
    return any(room in stair and other in stair and stair.index(room) < stair.index(other) for stair in STAIRS)


def test_every_module_has_a_floor():
    assert {room_of(path) for path in MODULES} <= FLOOR_OF.keys()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_imports_go_down(path):
    room = room_of(path)
    inner = [room_of(NAMES[name]) for name, _ in imports(path) if name in NAMES and name != "evqa"]
    wrong = sorted({other for other in inner if not may_see(room, other)})
    assert not wrong, f"{path.relative_to(CHECKOUT)} (floor {FLOOR_OF[room]}) imports {wrong}"
    outer = {name.partition(".")[0] for name, _ in imports(path)}
    assert not [name for name in outer & THIRD_PARTY.keys() if room not in THIRD_PARTY[name]]


def test_no_two_files_import_each_other():
    files = {name for name, path in NAMES.items() if path.name != "__init__.py"}
    graph = {name: {other for other, _ in imports(NAMES[name]) if other in files and other != name} for name in files}
    assert not first_cycle(graph)


def test_files_are_short_enough_to_be_read_at_once():
    lengths = {str(path.relative_to(CHECKOUT)): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    long = {name: length for name, length in lengths.items() if length > MOST_LINES}
    assert not long, f"more than {MOST_LINES} lines; split them by what they are about: {long}"


def test_a_word_names_one_class():
    places = defaultdict(list)
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                places[node.name.lstrip("_")].append(f"{name_of(path)}.{node.name}")
    shared = {name: found for name, found in places.items() if len(found) > 1 and name not in SHARED_NAMES_TO_GO}
    assert not shared, f"give all but one a more exact name: {shared}"


def test_the_root_of_the_package_holds_the_commands_and_little_else():
    there = {path.stem for path in ROOT.glob("*.py")}
    assert there <= AT_THE_ROOT, f"these belong into a room: {sorted(there - AT_THE_ROOT)}"


@pytest.mark.parametrize("command", FLOORS[8])
def test_commands_import_nothing_heavy_at_the_top(command):
    path = ROOT / f"{command}.py"
    heavy = {"torch", "lightning", "transformers", "numpy", "scipy", "wandb", "matplotlib"}
    top = {name.partition(".")[0] for name, at_top in imports(path) if at_top}
    assert not top & heavy
