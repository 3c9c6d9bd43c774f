import csv
import os
import shutil
from pathlib import Path

import pytest

from evqa.datasets import manifest as module
from evqa.datasets.manifest import check_files, read_manifest, write_manifest
from evqa.datasets.scenes import Scene, write_scene
from evqa.types import Record

MEDIA = Path(os.environ.get("EVQA_MEDIA", "../shared/media"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for at, name in enumerate(("one", "two words, ü")):
        write_scene(Scene(id=name, visual=0.0, acoustic=0.0, grade=0, seed=(at,)), folder=folder)
    shutil.copy(folder / "one.mp4", folder / "copy.mp4")
    (folder / "text.mp4").write_text("not a video\n" * 100)
    return folder


def records(folder: Path, *names: str) -> tuple[Record, ...]:
    return tuple(Record(id=name, paths=(folder / f"{name}.mp4",)) for name in names)


def test_files_are_described_and_failures_have_reasons(folder: Path, tmp_path: Path) -> None:
    splits = {"train": records(folder, "one", "text", "gone"), "val": records(folder, "two words, ü", "copy")}
    checked = check_files(splits, manifest=tmp_path / "deep" / "manifest.csv", hashed=True)
    assert [record.id for record in checked.usable] == ["one", "two words, ü", "copy"]
    assert [failure.id for failure in checked.failures] == ["text", "gone"]
    with (tmp_path / "deep" / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert [row["split"] for row in rows.values()] == ["train", "train", "train", "val", "val"]
    assert (rows["one"]["width"], rows["one"]["height"], float(rows["one"]["fps"])) == ("64", "64", 8.0)
    assert float(rows["one"]["duration"]) == pytest.approx(2.0, abs=0.1)
    assert rows["one"]["audio_rate_hz"] == "16000"
    assert rows["one"]["sha256"] == rows["copy"]["sha256"] != rows["two words, ü"]["sha256"]
    assert rows["text"]["error"] == checked.failures[0].reason


def test_only_new_and_changed_files_are_looked_into(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, looked = tmp_path / "manifest.csv", list[list[str]]()

    def spy(function, items, **options):  # type: ignore[no-untyped-def]
        looked.append([Path(item).stem for item in items])
        return original(function, items, **options)

    original = module.map_isolated
    monkeypatch.setattr(module, "map_isolated", spy)
    shutil.copy(folder / "one.mp4", tmp_path / "one.mp4")
    shutil.copy(folder / "text.mp4", tmp_path / "text.mp4")
    first = check_files({"train": records(tmp_path, "one", "text")}, manifest=manifest)
    again = check_files({"": records(tmp_path, "one", "text")}, manifest=manifest)
    assert again == first
    shutil.copy(folder / "one.mp4", tmp_path / "text.mp4")
    mended = check_files({"": records(tmp_path, "text")}, manifest=manifest)
    assert not mended.failures
    check_files({"": records(tmp_path, "one")}, manifest=manifest, hashed=True)
    assert looked == [["one", "text"], ["text"], ["one"]]
    assert {facts.id for facts in read_manifest(manifest)} == {"one", "text"}


def test_a_damaged_manifest_is_only_a_lost_memory(folder: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.csv"
    for content in (b"", b"\xff\xfe\0", b"id,path\na,b\n", b'id,path\n"a'):
        manifest.write_bytes(content)
        assert read_manifest(manifest) == []
    checked = check_files({"train": records(folder, "one")}, manifest=manifest)
    assert read_manifest(manifest) == list(checked.facts)
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.csv"]


def test_a_manifest_that_cannot_be_written_is_a_warning(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.warns(UserWarning, match="cannot be written"):
        checked = check_files({"train": records(folder, "one")}, manifest=tmp_path / "file" / "manifest.csv")
    assert len(checked.usable) == 1


def test_facts_survive_the_file_to_the_last_digit(folder: Path, tmp_path: Path) -> None:
    checked = check_files({"train": records(folder, "one", "two words, ü")}, manifest=tmp_path / "a.csv", hashed=True)
    write_manifest(tmp_path / "b.csv", checked.facts)
    assert tuple(read_manifest(tmp_path / "b.csv")) == checked.facts


@pytest.mark.skipif(not MEDIA.is_dir(), reason=f"the sample videos are not in {MEDIA} (set EVQA_MEDIA)")
def test_broken_and_hostile_files_give_sentences_and_do_no_harm(tmp_path: Path) -> None:
    with (MEDIA / "bad" / "manifest.csv").open(newline="", encoding="utf-8") as file:
        expected = {row["file"]: row["expect"] for row in csv.DictReader(file)}
    files = tuple(Record(id=name, paths=(MEDIA / "bad" / name,)) for name in expected)
    checked = check_files({"train": files}, manifest=tmp_path / "manifest.csv", needs_picture=True)
    reasons = {failure.id: failure.reason for failure in checked.failures}
    must_fail = {name for name, expect in expected.items() if expect in ("reject", "reject (no video stream)")}
    assert must_fail <= reasons.keys()
    assert not [name for name, expect in expected.items() if expect == "ok" and name in reasons]
    assert reasons["audio_only.mp4"] == "has no video track; give a video, or use modal=a"
    assert "12000x12000" in reasons["huge_frame_12000x12000.mp4"]
    assert not [reason for reason in reasons.values() if "Error" in reason or "killed" in reason]
