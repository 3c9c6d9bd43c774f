import csv
import os
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from evqa.config.compose import compose
from evqa.datasets.scenes import Scene, write_scene
from evqa.errors import AnnotationError
from evqa.media.cache import CacheError
from evqa.runs.preparation import check_files, level_lines, run
from evqa.training.plan import read_data_plan
from evqa.types import LabelScale, Record

MEDIA = Path(os.environ.get("EVQA_MEDIA", "../shared/media"))
HEADER = "Id,ECR,Title,Description\n"


def configuration(tmp_path: Path, rows: str, videos: Path, **more: Any) -> DictConfig:
    (tmp_path / "table.csv").write_text(HEADER + rows, encoding="utf-8")
    data = {
        "_target_": "evqa.datasets.snapugc.SnapUGC",
        "csv": str(tmp_path / "table.csv"),
        "videos": str(videos),
        "label": {"_target_": "evqa.types.LabelScale", "name": "ECR", "range": [0, 1]},
        "prepared": str(tmp_path / "prepared"),
        "cache": {"_target_": "evqa.media.cache.CacheSettings", "folder": None},
        "max_failures": 0.1,
    }
    return OmegaConf.create({"data": data | more, "modal": {"name": "av", "dropout": 0.0}})


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_prepare_describes_files_and_lists_every_reject(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_scene(Scene(id="good", visual=0.0, acoustic=0.0, grade=0, seed=(0,)), folder=tmp_path)
    write_scene(Scene(id="twin", visual=0.0, acoustic=0.0, grade=0, seed=(0,)), folder=tmp_path)
    (tmp_path / "broken.mp4").write_text("no video")
    rows = "good,0.5,,\nbroken,0.1,,\ntwin,0.7,[bold]x,\nabsent,0.1,,\nlost,0.1,,\n../x,7,,\ngood,0.5,,\n"
    config = configuration(tmp_path, rows, tmp_path)
    run(config)
    folder = read_data_plan(config).dataset.prepared_folder()
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.csv", "rejects.csv"]
    manifest = {row["id"]: row for row in read(folder / "manifest.csv")}
    assert list(manifest) == ["good", "broken", "twin"]
    assert manifest["good"]["sha256"] == manifest["twin"]["sha256"] != ""
    rejects = read(folder / "rejects.csv")
    assert [(row["id"], row["row"]) for row in rejects] == [
        ("absent", "4"),
        ("lost", "5"),
        ("../x", "6"),
        ("good", "7"),
        ("broken", ""),
    ]
    printed = capsys.readouterr().out
    assert "Equal files: 1 groups" in printed
    assert "good (train), twin (train)" in printed
    assert "no video <Id>.mp4" in printed
    assert "table.csv row 6, Id ../x: ECR is 7, outside 0..1" in printed
    usable, failures = check_files(read_data_plan(config).dataset.read().records, read_data_plan(config))
    assert [record.id for record in usable] == ["good", "twin"]
    assert [failure.id for failure in failures] == ["broken"]


def test_levels_of_the_labels_are_counted_with_their_edges_where_the_head_has_words() -> None:
    words, scale = [" high", " good", " fair", " poor", " low"], LabelScale(name="mos", range=(1, 5))
    labels = {"a": 5.0, "b": 4.2, "c": 4.1999, "d": 1.0, "e": None, "f": 2.6}
    records = tuple(Record(id=name, paths=(), label=label) for name, label in labels.items())
    assert level_lines(records, scale, words) == [
        "Levels: high 2, good 1, fair 1, poor 0, low 1; they meet at 4.2, 3.4, 2.6, 1.8 of mos 1..5, and an edge "
        "belongs to the better level",
        "  2 labels lie on an edge (the first: Id b, 4.2)",
    ]
    assert level_lines(records, scale, ()) == level_lines((), scale, words) == []


def test_nothing_usable_is_an_error_after_the_reasons_are_written(tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_text("no video")
    config = configuration(tmp_path, "broken,0.1,,\n", tmp_path)
    with pytest.raises(AnnotationError, match="Nothing can be used; the reasons are in"):
        run(config)
    assert len(read(read_data_plan(config).dataset.prepared_folder() / "rejects.csv")) == 1


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    write_scene(Scene(id="good", visual=0.0, acoustic=0.0, grade=0, seed=(0,)), folder=tmp_path)
    (tmp_path / "file").touch()
    config = configuration(tmp_path, "good,0.1,,\n", tmp_path, prepared=str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="cannot be written"), pytest.raises(AnnotationError, match=r"data\.prepared="):
        run(config)


@pytest.mark.skipif(not MEDIA.is_dir(), reason=f"the sample videos are not in {MEDIA} (set EVQA_MEDIA)")
def test_the_broken_files_of_the_sample_set_end_as_rows_of_rejects(tmp_path: Path) -> None:
    files = sorted(path.name for path in (MEDIA / "bad").iterdir() if path.suffix != ".csv")
    rows = "".join(f'"{name}",0.{at:02},None,"a, b"\n' for at, name in enumerate(files))
    config = configuration(tmp_path, rows, MEDIA / "bad")
    run(config)
    folder = read_data_plan(config).dataset.prepared_folder()
    rejected = {row["id"]: row["reason"] for row in read(folder / "rejects.csv")}
    described = {row["id"] for row in read(folder / "manifest.csv") if not row["error"]}
    assert set(files) == rejected.keys() | described
    assert {"zero_bytes.mp4", "no_moov.mp4", "text_renamed.mp4", "audio_only.mp4"} <= rejected.keys()
    assert {"-starts-with-dash.mp4", "name with spaces, ünïcødé & 视频 (1).mp4", "no_extension"} <= described
    assert all(len(reason) > 10 for reason in rejected.values())


def test_rejects_are_written_also_where_the_clips_do_not_fit_into_the_cache(tmp_path: Path) -> None:
    write_scene(Scene(id="good", visual=0.0, acoustic=0.0, grade=0, seed=(0,)), folder=tmp_path)
    (tmp_path / "broken.mp4").write_text("no video")
    (tmp_path / "table.csv").write_text(f"{HEADER}good,0.5,,\nbroken,0.1,,\n")
    config = compose(
        [
            "data=snapugc",
            f"data.csv={tmp_path}/table.csv",
            f"data.videos={tmp_path}",
            f"data.prepared={tmp_path}/prepared",
            f"data.cache.folder={tmp_path}/clips",
            "data.cache.max_gigabytes=0.0001",
        ]
    )
    with pytest.raises(CacheError, match="but max_gigabytes is"):
        run(config)
    assert [row["id"] for row in read(read_data_plan(config).dataset.prepared_folder() / "rejects.csv")] == ["broken"]
