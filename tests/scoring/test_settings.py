"""What is known of a scorer before it is loaded."""

import json
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from evqa.config.compose import compose
from evqa.runs.merging import export_run
from evqa.scoring.inputs import find_inputs
from evqa.scoring.settings import further_texts, own_columns, reads_images, reads_sound_alone
from evqa.scoring.sources import NamedColumns


def test_settings_of_a_run_and_of_its_export_are_known(train, tmp_path):
    run = train("modal=a", "prompt.question='<media>{Download_link}?'", f"run.root={tmp_path}", "trainer.epochs=1").path
    export_run(run, out=tmp_path / "export")
    for place in (run, str(run), tmp_path / "export"):
        assert reads_sound_alone(place, None, [])
        assert not reads_images(place, [])
        assert further_texts(place, []) == ("Download_link",)
    assert not reads_sound_alone(run, "v", [])


def test_settings_of_published_scorers_are_known(tmp_path):
    assert [reads_images(name, []) for name in ("vqa2_image", "vqa2_ugc", "lmm_evqa")] == [True, True, False]
    assert further_texts("vqa2_streaming", []) == ()
    own = ["prompt=vqa2_streaming", "frames.exact=true", "model.checkpoint=/not there"]
    assert further_texts("vqa2_streaming", own) == ("stalling",)
    assert further_texts("vqa2_streaming", ["prompt=nothing"]) == ()
    assert not reads_images(Path("vqa2_image"), [])  # a folder of this name, which is not there
    for kind, known in (("llava_qwen", True), ("videollama2_qwen2", False), ("bert", False), ([], False)):
        (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
        assert reads_images(tmp_path, []) is known


@pytest.fixture
def own_run(tmp_path):
    """Call with overrides of data=table: what a run on such a table calls its columns."""

    def own(*overrides):
        config = compose(["data=table", "data.path=t.csv", "data.root=v", "data.label.range=[1,5]", *overrides])
        (tmp_path / "config.yaml").write_text(OmegaConf.to_yaml(config))
        return own_columns(tmp_path, [])

    return own


def test_a_table_with_the_columns_of_the_runs_own_is_read_without_naming_them(own_run, tmp_path):
    own = own_run("data.id_column=clip", "data.path_column=datei", "data.title_column=Überschrift")
    (tmp_path / "x.mp4").write_bytes(b"x")
    (tmp_path / "new.csv").write_text("Überschrift;clip;datei;path\nGuten Tag;a;x.mp4;y\n")
    (item,) = find_inputs([tmp_path / "new.csv"], own_columns=own)
    assert (item.id, item.record.paths, item.record.texts) == ("a", (tmp_path / "x.mp4",), {"title": "Guten Tag"})
    (named,) = find_inputs([tmp_path / "new.csv"], columns=NamedColumns(id="Überschrift"), own_columns=own)
    assert named.id == "Guten Tag"
    (tmp_path / "new.csv").write_text("id,path\nb,x.mp4\n")  # which is not like the run's
    assert [item.id for item in find_inputs([tmp_path / "new.csv"], own_columns=own)] == ["b"]


def test_pairs_and_tables_without_a_header_are_read_as_the_run_reads_them(own_run, tmp_path):
    own = own_run("data.path_column=[one,two]", "data.columns=[id,one,two,_]")
    for name in ("x", "y"):
        (tmp_path / f"{name}.mp4").write_text(name)
    (tmp_path / "new.csv").write_text("a,x.mp4,y.mp4,3\nb,y.mp4,x.mp4,4\n")
    first, _ = find_inputs([tmp_path / "new.csv"], own_columns=own)
    assert first.record.paths == (tmp_path / "x.mp4", tmp_path / "y.mp4")
    assert own_columns("vqa2_ugc", []) == NamedColumns()
