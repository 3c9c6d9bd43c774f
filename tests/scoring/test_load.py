"""`evqa.load`: every place that holds a scorer gives the scores of `evqa.eval`, and every other place a sentence."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file

import evqa
from evqa.config import identity
from evqa.config.compose import compose
from evqa.config.composer import open_configuration
from evqa.config.paths import conf_folder, group_folders, group_options
from evqa.errors import CheckpointError, ConfigError, FileError, RunError
from evqa.runs.fit import run as fit
from evqa.runs.merging import export_run
from evqa.training.folder import RunFolder
from evqa.training.plan import read_data_plan
from evqa.types import Record
from tests.models.videollama2 import reference
from tests.runs.test_agreement import read

NAMES = ("whole", "merged", "adapter")
NUMBERS = reference.read_json("model/end_to_end.json")


def trained_scores(run):
    return read(run.prediction("val"))


def validation(run):
    return read_data_plan(run.read_config()).dataset.load().splits["val"]


def scores_of(scorer, records):
    return {score.id: score.value for score in scorer.score(records)}


@pytest.fixture(scope="module")
def adapted(train, tmp_path_factory):
    """A run with adapters that make a difference."""
    root = tmp_path_factory.mktemp("adapted")
    return train("lora=r8", "optimizer.learning_rate=1e-2", f"run.root={root}")


@pytest.fixture(scope="module")
def exports(finished, adapted, tmp_path_factory):
    """Folders that `evqa.merge` wrote, by name, each with the run that it was written of."""
    home = tmp_path_factory.mktemp("exports")
    export_run(finished.path, out=home / "whole")
    export_run(adapted.path, out=home / "merged")
    export_run(adapted.path, out=home / "adapter", adapter=True)
    return {
        "whole": (home / "whole", finished),
        "merged": (home / "merged", adapted),
        "adapter": (home / "adapter", adapted),
    }


@pytest.fixture
def copied(exports, tmp_path):
    """Copy a merged folder and change its evqa.json."""

    def make(name="whole", change=lambda about: None):
        shutil.copytree(exports[name][0], tmp_path / name)
        about = json.loads((tmp_path / name / "evqa.json").read_text())
        change(about)
        (tmp_path / name / "evqa.json").write_text(json.dumps(about))
        return tmp_path / name

    return make


def test_importing_evqa_imports_nothing_heavy():
    program = "import evqa, sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = set(subprocess.check_output([sys.executable, "-c", program], text=True).split())
    assert not loaded & {"torch", "numpy", "lightning", "hydra", "omegaconf", "rich", "yaml", "transformers"}


@pytest.mark.parametrize("batch_size", [1, 5])
def test_a_run_gives_the_scores_of_its_training(finished, adapted, batch_size):
    for run in (finished, adapted):
        scorer = evqa.load(run.path, batch_size=batch_size)
        assert scores_of(scorer, validation(run)) == pytest.approx(trained_scores(run), abs=1e-5)


@pytest.mark.parametrize("batch_size", [1, 5])
@pytest.mark.parametrize("name", NAMES)
def test_a_merged_folder_gives_the_scores_of_the_run_and_its_percentiles(exports, name, batch_size):
    folder, run = exports[name]
    scorer = evqa.load(folder, batch_size=batch_size)
    assert scores_of(scorer, validation(run)) == pytest.approx(trained_scores(run), abs=1e-5)
    assert scorer.meaning.training_labels == evqa.load(run.path).meaning.training_labels
    assert len(set(trained_scores(run).values())) == 16


def test_adapters_are_merged_for_scoring(adapted):
    assert not [name for name, _ in evqa.load(adapted.path).module.named_parameters() if ".lora_" in name]


def test_a_merged_folder_scores_in_another_process_by_its_path_alone(exports):
    folder, run = exports["merged"]
    records = validation(run)[:3]
    program = (
        "import evqa, json, sys\nfrom pathlib import Path\nfrom evqa.types import Record\n"
        "items = [Record(id=i, paths=(Path(p),), texts=t) for i, p, t in json.load(sys.stdin)]\n"
        "print(json.dumps({s.id: s.value for s in evqa.load(sys.argv[1]).score(items)}))"
    )
    given = json.dumps([[record.id, str(record.paths[0]), dict(record.texts)] for record in records])
    said = subprocess.check_output([sys.executable, "-c", program, str(folder)], input=given, text=True)
    expected = {id_: value for id_, value in trained_scores(run).items() if id_ in {record.id for record in records}}
    assert json.loads(said) == pytest.approx(expected, abs=1e-5)


def test_a_part_of_the_modalities_may_be_scored(exports, finished):
    for place in (exports["whole"][0], finished.path):
        scorer = evqa.load(place, modal="v")
        assert scorer.modal == "v"
        (score,) = scorer.score(validation(finished)[:1])
        assert score.value != trained_scores(finished)[score.id]
    with pytest.raises(ConfigError, match=r"--modal x: give a, v or av\."):
        evqa.load(finished.path, modal="x")


def test_what_a_folder_holds_of_the_training_may_not_be_overridden(exports, finished):
    for place in (exports["whole"][0], finished.path):
        with pytest.raises(ConfigError, match=r"--override modal.name=v: only places may change"):
            evqa.load(place, overrides=["modal.name=v"])
        with pytest.raises(ConfigError, match=r"data.batch_size"):
            evqa.load(place, batch_size=0)


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        (lambda a: a["config"].update(head={"_target_": "os.getcwd"}), ConfigError, r"evqa.json: head._target_: os.g"),
        (lambda a: a["config"].update(model={"_target_": "subprocess.call"}), ConfigError, "no class of evqa"),
        (lambda a: a["config"]["frames"].update(count="${other:1}"), RunError, r"frames.count holds '\$\{other:1\}"),
        (lambda a: a["config"]["frames"].update(count="${seed}"), RunError, r"a run's file has plain values"),
        (lambda a: a["config"].pop("frames"), CheckpointError, r"is not what evqa.merge writes: config.frames missing"),
        (lambda a: a.update(form="other"), CheckpointError, r"is not what evqa.merge writes: form='other'"),
        (lambda a: a["label"].update(range=[1, 0]), ConfigError, r"data.label.range=\[1, 0\]"),
        (lambda a: a.update(training_labels=[2, 1]), CheckpointError, r"training_labels must be a sorted list of num"),
        (lambda a: a["config"]["frames"].update(count=4), CheckpointError, r"with other preprocessing \(frames\)"),
        (lambda a: a["config"]["model"].update(width=32), CheckpointError, r"do not fit the model of evqa.json: mis"),
        (lambda a: a.update(precision="8"), ConfigError, r"trainer.precision: expected one of"),
        (lambda a: a.update(seed="one"), ConfigError, r"seed: expected"),
    ],
)  # fmt: skip
def test_a_received_folder_is_checked_as_a_received_run_is(copied, tmp_path, monkeypatch, change, error, sentence):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(error, match=sentence):
        evqa.load(copied(change=change))
    assert list((tmp_path / "here").iterdir()) == []


def test_scoring_with_a_merged_folder_writes_nowhere_unless_the_user_says_so(exports, finished, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder, _ = exports["whole"]
    list(evqa.load(folder).score(validation(finished)[:2]))
    assert list(tmp_path.iterdir()) == []
    list(evqa.load(folder, overrides=["data.cache.folder=clips"]).score(validation(finished)[:2]))
    assert [path.name for path in tmp_path.iterdir()] == ["clips"]


def test_a_link_out_of_a_merged_folder_is_not_followed(copied, tmp_path):
    folder = copied()
    shutil.move(folder / "head.safetensors", tmp_path / "elsewhere")
    (folder / "head.safetensors").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match="is a link that leads out of the folder"):
        evqa.load(folder)


def test_weights_that_are_missing_or_damaged_are_named(copied):
    folder = copied("adapter")
    state = load_file(folder / "adapter_model.safetensors")
    dropped = sorted(state)[0]
    save_file({key: tensor for key, tensor in state.items() if key != dropped}, folder / "adapter_model.safetensors")
    with pytest.raises(CheckpointError, match=rf"missing \['{dropped}'\] \(1\), unexpected \[\] \(0\)"):
        evqa.load(folder)
    (folder / "adapter_model.safetensors").write_bytes(b"PK")
    with pytest.raises(CheckpointError, match=r"adapter_model.safetensors cannot be read"):
        evqa.load(folder)
    (folder / "head.safetensors").unlink()
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"adapter_model.safetensors is not there; an export of this kind has it"):
        evqa.load(folder)


def test_damaged_training_labels_of_a_run_are_told(finished, tmp_path):
    shutil.copytree(finished.path, tmp_path / "run")
    (tmp_path / "run/training_labels.json").write_text('{"training_labels": [0.5, "x"]}')
    with pytest.raises(FileError, match=r"training_labels.json is damaged: training_labels must be a sorted list"):
        evqa.load(tmp_path / "run")


# ---- published scorers


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The small reference weights in the published layout, with a regression head."""
    return reference.write_checkpoint(tmp_path_factory.mktemp("published") / "lmm's $ {weights}")


def media_at_hand(media):
    places = [place / name for name in NUMBERS["videos"] for place in (reference.GOLDEN / "preprocess/videos", media)]
    return [Record(id=file.name, paths=(file,), texts=NUMBERS["prompt"]) for file in places if file.is_file()]


@pytest.mark.parametrize("modal", ["av", "v", "a"])
def test_lmm_evqas_weights_give_the_originals_scores_by_folder_and_by_name(published, media, modal):
    records = media_at_hand(media)
    assert records
    exactly = ["model.dtype=float32", "trainer.precision=32"]
    named = [f"model.checkpoint='{str(published).replace(chr(39), chr(92) + chr(39))}'", *exactly]
    by_folder = evqa.load(published, overrides=exactly, modal=modal, batch_size=2)
    by_name = evqa.load("lmm_evqa", overrides=named, modal=modal)
    for scorer in (by_folder, by_name):
        found = [score for score in scorer.score(records) if score.failure is None]
        assert len(found) >= len(records) - (modal == "a")
        for score in found:
            expected = NUMBERS["videos"][score.id]["float32_uniform"][modal]
            assert 100 * score.value == pytest.approx(expected, abs=5e-3)  # another decoder, as its README says


def test_a_scorer_without_its_weights_says_where_to_name_them():
    with pytest.raises(ConfigError, match=r"lmm_evqa: its weights are not part of evqa. Name .*--override model.ch"):
        evqa.load("lmm_evqa")


def test_weights_without_a_head_give_no_scores(published, tmp_path):
    shutil.copytree(published, tmp_path / "base")
    state = load_file(tmp_path / "base/model.safetensors")
    kept = {key: tensor for key, tensor in state.items() if not key.startswith("lm_head_reg.")}
    save_file(kept, tmp_path / "base/model.safetensors")
    with pytest.raises(CheckpointError, match=r"base: the weights have no regression head of their own \(lm_head_reg"):
        evqa.load(tmp_path / "base")


def test_a_model_of_another_kind_gives_no_scores(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(CheckpointError, match=r"holds a model of type 'bert' without evqa.json"):
        evqa.load(tmp_path)


def test_a_published_layout_that_a_run_was_merged_to_scores_without_evqas_own_file(small, tmp_path):
    exact = ("model.exact=true", "frames=uniform8", "frames.count=6", "frames.exact=true", "audio=clips_8x2")
    mine = [line for line in small if not line.startswith(("model.width", "run.root", "trainer.epochs"))]
    config = compose([*mine, "model=videollama2_tiny", *exact, f"run.root={tmp_path}/runs", "trainer.epochs=1"])
    fit(config)
    run = RunFolder(identity.folder(config))
    export_run(run.path, out=tmp_path / "out")
    whole = scores_of(evqa.load(tmp_path / "out", batch_size=3), validation(run))
    assert whole == pytest.approx(trained_scores(run), abs=1e-5)
    (tmp_path / "out/evqa.json").unlink()
    (tmp_path / "out/head.safetensors").unlink()
    exactly = ["model.dtype=float32", "trainer.precision=32"]
    for batch_size in (1, 4):
        bare = evqa.load(tmp_path / "out", overrides=exactly, batch_size=batch_size)
        assert scores_of(bare, validation(run)) == pytest.approx(trained_scores(run), abs=1e-5)


@pytest.mark.parametrize("name", group_options(group_folders(conf_folder())["scorer"]))
def test_every_named_scorer_composes_once_its_weights_are_named(name):
    composer = open_configuration("train")
    config = composer.compose([f"scorer={name}", "model.checkpoint=FOLDER"])
    assert composer.check(config) == []
    assert OmegaConf.select(config, "data.cache.folder") is None


# ---- everything else


@pytest.mark.parametrize(
    ("place", "found"), [("nowhere", "is not there"), ("folder", "holds no scorer"), ("file.ckpt", "is no folder")]
)
def test_a_place_that_holds_no_scorer_is_told_what_could(tmp_path, monkeypatch, place, found):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file.ckpt").touch()
    with pytest.raises(
        ConfigError, match=rf"{place}: {found}. A scorer is a run folder .*evqa.json.*: lmm_evqa, vqa2_.*\.$"
    ):
        evqa.load(place)
    with pytest.raises(ConfigError, match=r"tiny: is not there.* A run of this model: evqa train model=tiny\.$"):
        evqa.load("tiny")
    with pytest.raises(ConfigError, match=r"lmm_evqa: is not there"):
        evqa.load(Path("lmm_evqa"))


def test_checkpoints_may_be_chosen_of_a_run_alone(exports, finished):
    assert evqa.load(finished.path, checkpoint="last")
    with pytest.raises(ConfigError, match=r"--ckpt last: .* is no run folder"):
        evqa.load(exports["whole"][0], checkpoint="last")
