"""A model with a motion stream and two videos a record goes through every command."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

import evqa
from evqa.config.compose import compose
from evqa.config.signature import read_module, read_schema
from evqa.prompts.decoding import Decoding
from tests.toys.two_streams import CHUNK

TOYS = Path(__file__).parents[1] / "toys"
QUESTION = "prompt.question='<media>or<media> of {creator}?'"


@pytest.fixture(scope="module")
def toys():
    """Let configurations name the toys as if they were models of the package."""
    evqa.__path__.append(str(TOYS))
    yield
    evqa.__path__.remove(str(TOYS))
    for cached in (read_module, read_schema):
        cached.cache_clear()


@pytest.fixture(scope="module")
def pairs(data, tmp_path_factory):
    """A table of pairs of videos with a creator and a codec; overrides of a run on it."""
    tmp_path = tmp_path_factory.mktemp("pairs")
    files = sorted((data / "videos").glob("*.mp4"))
    rows = [
        {"id": f"p{at}", "mos": 1 + at % 5, "first": files[2 * at].name, "second": files[2 * at + 1].name}
        | {"creator": "Ann" if at % 2 else "Bob", "codec": "h264" if at % 3 else "vp9"}
        for at in range(12)
    ]
    with (tmp_path / "pairs.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
    return (
        *("data=table", f"data.path={tmp_path}/pairs.csv", f"data.root={data}/videos", "data.label.range=[1,5]"),
        *("data.path_column=[first,second]", "data.tag_columns=[codec]", "data.val_fraction=0.3", QUESTION),
        *("data.batch_size=4", f"data.prepared={tmp_path}/prepared", f"data.cache.folder={tmp_path}/cache"),
        *("model._target_=evqa.two_streams.TwoStreams", "trainer.progress=false", "logger=csv"),
        *("trainer.epochs=1", f"run.root={tmp_path}/runs", "head=levels"),
    )


@pytest.fixture(scope="module")
def trained(toys, pairs):
    """A finished run of the toy."""
    from evqa.config import identity
    from evqa.runs import fit
    from evqa.training.folder import RunFolder

    config = compose([*MINIMAL, *pairs])
    fit.run(config)
    return RunFolder(identity.folder(config))


# The toy takes other arguments than the model whose place it takes.
MINIMAL = [f"~model.{name}" for name in ("num_layers", "num_heads", "max_tokens", "max_bytes", "image_size", "resize")]


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_pairs_are_trained_on_evaluated_and_sliced(trained, capsys):
    from evqa import eval as evaluate

    scored = read(trained.prediction("val"))
    assert scored
    assert json.loads(trained.prediction("val", "json").read_text())["num_failed"] == 0
    assert {row["codec"] for row in read(trained.prediction("val", "targets.csv"))} <= {"h264", "vp9"}
    evaluate.main([str(trained.path)])
    again = {row["Id"]: float(row["mos"]) for row in read(trained.prediction("val-eval"))}
    assert again == pytest.approx({row["Id"]: float(row["mos"]) for row in scored}, abs=1e-5)


def test_a_loaded_scorer_scores_pairs_and_answers_about_them(trained):
    scored = {row["Id"]: float(row["mos"]) for row in read(trained.prediction("val"))}
    scorer, records = loaded(trained)
    assert {score.id: score.value for score in scorer.score(records)} == pytest.approx(scored, abs=1e-5)
    asked = list(scorer.ask(records, question="<media><media>Which is better?", decoding=Decoding(max_new_tokens=4)))
    assert [answer.failure for answer in asked] == [None] * len(records)
    (answer,) = scorer.ask(records[:1], question="<media>Which is better?")
    assert "has 1 places for media (<media>), and this record has 2 streams" in answer.failure.reason


def loaded(trained):
    """Load the toy's scorer; returns it with the records of its validation split."""
    from evqa.config.saved import read_saved
    from evqa.training.plan import read_data_plan

    return evqa.load(trained.path), read_data_plan(read_saved(trained.config)).dataset.load().splits["val"]


def test_the_motion_of_both_videos_reaches_the_model(trained):
    scorer, (record, *_) = loaded(trained)
    batch = scorer._load((record,), pipeline=scorer._pipeline).batch
    first, second = batch.inputs.streams["motion"]
    assert min(first.num_frames, second.num_frames) > CHUNK
    scores = set()
    for motion in ((first, second), (first, first), (second, second), (second, None)):
        shown = replace(batch, inputs=replace(batch.inputs, streams={"motion": motion}))
        scores |= set(scorer._compute(shown, scorer.module.values))
    assert len(scores) == 4


@pytest.fixture
def table(pairs):
    """The table of pairs, and the folder of its videos."""
    given = dict(override.split("=", 1) for override in pairs if override.startswith("data."))
    return Path(given["data.path"]), Path(given["data.root"])


def predicted(trained, table, videos, *flags):
    """Score a table of pairs with `evqa.predict` into a file."""
    from evqa import predict

    out = table.parent / "scores.csv"
    places = ("--scorer", str(trained.path), "--videos", str(videos), "--out", str(out), "--overwrite")
    predict.main([str(table), *places, *flags])
    return {row["Id"]: float(row["mos"]) for row in read(out)}


BOTH = ("--path-column", "first", "--path-column", "second")


def test_predict_reads_both_files_and_the_column_that_the_question_names(trained, table):
    scores = predicted(trained, *table, *BOTH)
    assert len(scores) == 12
    of_training = {row["Id"]: float(row["mos"]) for row in read(trained.prediction("val"))}
    assert {name: scores[name] for name in of_training} == pytest.approx(of_training, abs=1e-5)
    turned = predicted(trained, *table, *BOTH[2:], *BOTH[:2])
    assert all(abs(turned[name] - scores[name]) > 1e-6 for name in scores)


def test_predict_says_which_file_or_column_is_not_there(trained, table, tmp_path, capsys):
    path, videos = table
    other = tmp_path / "pairs.csv"
    other.write_text(path.read_text().replace("creator", "creators"))
    with pytest.raises(SystemExit) as caught:
        predicted(trained, other, videos, *BOTH)
    assert caught.value.code == 2
    assert (
        f"{other}: no column 'creator' (did you mean 'creators'?). Its columns are: id, mos, first, second, creators, "
        "codec (the question that the scorer asks names {creator})."
    ) in " ".join(capsys.readouterr().err.split())
    lines = path.read_text().splitlines()
    gone = ",".join(["gone.mp4" if place == 3 else cell for place, cell in enumerate(lines[1].split(","))])
    other.write_text("\n".join([lines[0], gone, *lines[2:]]) + "\n")
    assert "p0" not in predicted(trained, other, videos, *BOTH)
    assert "second: no video gone.mp4" in (tmp_path / "scores.csv.failures.jsonl").read_text()
