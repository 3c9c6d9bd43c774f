import csv
import os
from pathlib import Path

import pytest

from evqa.datasets.base import Annotations
from evqa.datasets.snapugc import SnapUGC
from evqa.datasets.table import Table
from evqa.errors import AnnotationError, ConfigError
from evqa.types import LabelScale

MEDIA = Path(os.environ.get("EVQA_MEDIA", "../shared/media"))
needs_media = pytest.mark.skipif(not MEDIA.is_dir(), reason=f"the sample videos are not in {MEDIA} (set EVQA_MEDIA)")
HEADER = "Id,ECR,Title,Description,Download_link\n"

AWKWARD = HEADER + (
    "a,0.57,,Worst luck ever,\n"
    "b,,DUBS NEED A CENTER,text,\n"
    "c,nan,,,\n"
    "d,1.7,What's said at tea, stays at tea,,\n"
    "e,-0.1,My boy red heart,,\n"
    "a,0.57,,Worst luck ever,\n"
    'f,0.27,"two\nlines, and ""quotes""",x,\n'
    "absent,0.5,,,\n"
    "../../etc/passwd,0.5,,,\n"
    ",0.5,empty Id,,\n"
    "g,abc,,,\n"
    "h,55.5,,,\n"
    "zero,0.25,,,\n"
    "i,0.1,,,\n"
    "i,0.2,,,\n"
    "j,9e99,,,\n"
    "k,0.5\n"
    "../l,nope,,,\n"
    "m,0.9,None,null,\n"
    "n,3.2,,,\n"
)
EXPECTED = {
    2: "ECR is empty",
    3: "ECR is nan, not a finite number",
    4: "has 6 fields where the header has 5; a comma inside a text needs quotes around the text (line 5)",
    5: "ECR is -0.1, outside 0..1",
    6: "repeats row 1, which is kept",
    8: "no video absent.mp4 in {videos} (nor with another extension)",
    9: "'../../etc/passwd' would leave the folder {videos}; name a file below it",
    10: "Id is empty",
    11: "ECR is 'abc', not a number",
    12: "ECR is 55.5, outside 0..1; if the column holds percent set data.label.range=[0,100]",
    13: "zero.mp4 is empty (0 bytes)",
    14: "the Id stands in rows 14, 15 with different values; none of them is used",
    15: "the Id stands in rows 14, 15 with different values; none of them is used",
    16: "ECR is 9e99, outside 0..1",
    17: "has 2 fields where the header has 5 (line 19)",
    18: "ECR is 'nope', not a number; '../l' would leave the folder {videos}; name a file below it",
    20: "ECR is 3.2, outside 0..1; if the column holds percent set data.label.range=[0,100]"
    ", if ratings of 1 to 5 [1,5]",
}


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    folder.mkdir()
    for at, name in enumerate("abcdefghijklmnopqrst"):
        (folder / f"{name}.mp4").write_bytes(b"x" * (at + 1))
    (folder / "zero.mp4").touch()
    return folder


def write(path: Path, content: str) -> str:
    path.write_text(content, encoding="utf-8")
    return str(path)


def reasons(annotations: Annotations) -> dict[int | None, str]:
    return {reject.row: reject.reason for reject in annotations.rejects}


def test_every_bad_row_of_an_awkward_table_is_a_sentence(tmp_path: Path, videos: Path) -> None:
    annotations = SnapUGC(csv=write(tmp_path / "awkward.csv", AWKWARD), videos=str(videos)).read()
    assert reasons(annotations) == {row: reason.format(videos=videos) for row, reason in EXPECTED.items()}
    assert [record.id for record in annotations.records] == ["a", "f", "m"]
    assert annotations.records[0].texts.get("title") is None
    assert annotations.records[2].texts["title"] == "None"
    assert annotations.records[2].texts["description"] == "null"
    assert str(annotations.rejects[1]) == "awkward.csv row 3, Id c: ECR is nan, not a finite number"


@needs_media
def test_the_shared_awkward_table_leaves_two_rows() -> None:
    data = SnapUGC(csv=str(MEDIA / "train_data_awkward.csv"), videos=str(MEDIA))
    given = data.read()
    assert [record.id for record in given.records] == ["portrait_480x854_a", "sample_demo_1"]
    assert sorted(reasons(given)) == [2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13]
    assert all(reject.id for reject in given.rejects if reject.row != 10)
    assert {name: len(records) for name, records in data.load().splits.items()} == {"train": 1, "val": 1}


@needs_media
def test_the_shared_tables_are_read_to_the_letter() -> None:
    annotations = SnapUGC(csv=str(MEDIA / "train_data.csv"), videos=str(MEDIA)).read()
    with (MEDIA / "train_data.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert not annotations.rejects
    for record, row in zip(annotations.records, rows, strict=True):
        assert (record.id, record.texts.get("title", ""), record.texts.get("description", "")) == (
            row["Id"],
            row["Title"],
            row["Description"],
        )
        assert record.label == float(row["ECR"])
    unlabelled = SnapUGC(predict_csv=str(MEDIA / "val_data.csv"), videos=str(MEDIA)).load()
    assert {record.label for record in unlabelled.splits["predict"]} == {None}
    with pytest.raises(AnnotationError, match="no column 'ECR'"):
        SnapUGC(csv=str(MEDIA / "val_data.csv"), videos=str(MEDIA)).read()


def test_columns_may_come_in_any_order_and_percent_is_declared(tmp_path: Path, videos: Path) -> None:
    table = write(tmp_path / "t.csv", "\ufeffTitle,ECR,Id,Description\nx,55.5,a,\ny,0.5,b,\n")
    data = SnapUGC(csv=table, videos=str(videos), label=LabelScale(range=(0, 100)))
    assert [(record.id, record.label) for record in data.read().records] == [("a", 55.5), ("b", 0.5)]
    assert data.label.to_unit(55.5) == pytest.approx(0.555)


@pytest.mark.parametrize(("end", "labels"), [("lowest", [0.05, 0.95]), ("highest", [0.95, 0.05])])
def test_ranks_of_the_older_release_are_normalised(tmp_path: Path, videos: Path, end: str, labels: list[float]) -> None:
    header = "Id\tVideo_len\torder of ECR\torder of NAWP\tTitle\tDescription\tLink\n"
    rows = 'a\t5\t1\t3\t"open\tx\tl\nb\t5\t10\t3\ty"\t\tl\nc\t5\t\t3\t\t\tl\nd\t5\t2.5\t3\t\t\tl\n'
    path = write(tmp_path / "train_out.txt", header + rows)
    annotations = SnapUGC(csv=path, videos=str(videos), format="tsv_ranks", rank_1_is=end).read()  # type: ignore[arg-type]
    assert [record.label for record in annotations.records] == pytest.approx(labels)
    assert annotations.records[0].texts["title"] == '"open'
    assert reasons(annotations) == {
        3: "order of ECR is empty",
        4: "order of ECR is 2.5, not a whole number in 1..10",
    }
    with pytest.raises(ConfigError, match="ranks are normalised to 0-1"):
        SnapUGC(csv=path, videos=str(videos), format="tsv_ranks", label=LabelScale(range=(0, 100)))


def rows_of(names: str) -> str:
    return HEADER + "".join(f"{name},{at / 20},,,\n" for at, name in enumerate(names))


def test_the_same_video_on_both_sides_is_an_error_or_dropped(tmp_path: Path, videos: Path) -> None:
    (videos / "t.mp4").write_bytes((videos / "a.mp4").read_bytes())
    given = {
        "csv": write(tmp_path / "train.csv", rows_of("abcde")),
        "val_csv": write(tmp_path / "val.csv", rows_of("edt")),
        "videos": str(videos),
    }
    with pytest.raises(AnnotationError, match="3 records stand on both sides") as error:
        SnapUGC(**given).load()  # type: ignore[arg-type]
    assert "train a: its file is the same as that of t in the val table" in str(error.value)
    assert "train d: the Id is in the val table too" in str(error.value)
    annotations = SnapUGC(**given, overlap="drop").load()  # type: ignore[arg-type]
    assert [record.id for record in annotations.splits["train"]] == ["b", "c"]
    assert [record.id for record in annotations.splits["val"]] == ["e", "d", "t"]
    assert [one.id for one in annotations.dropped] == ["a", "d", "e"]
    assert annotations.rejects == ()


def test_equal_files_of_one_table_stay_on_one_side(tmp_path: Path, videos: Path) -> None:
    for name in "bdfhjlnprt":
        (videos / f"{name}.mp4").write_bytes((videos / f"{chr(ord(name) - 1)}.mp4").read_bytes())
    table = write(tmp_path / "train.csv", rows_of("abcdefghijklmnopqrst"))
    for fold in range(5):
        held = SnapUGC(csv=table, videos=str(videos), folds=5, fold=fold).load().splits["val"]
        names = {record.id for record in held}
        assert len(names) == 4
        assert all((chr(ord(name) - 1) if name in "bdfhjlnprt" else chr(ord(name) + 1)) in names for name in names)


def test_in_training_by_folds_the_given_validation_table_becomes_the_holdout(tmp_path: Path, videos: Path) -> None:
    train, val = write(tmp_path / "train.csv", rows_of("abcdef")), write(tmp_path / "val.csv", rows_of("xyghi"))
    splits = SnapUGC(csv=train, val_csv=val, videos=str(videos), folds=3, fold=0).load().splits
    assert {name: len(records) for name, records in splits.items()} == {"train": 4, "val": 2, "holdout": 3}


def test_a_reject_belongs_to_the_split_whose_table_names_it_and_to_training_where_one_table_is_divided(
    tmp_path: Path, videos: Path
) -> None:
    train = write(tmp_path / "train.csv", rows_of("abcdeX") + ",0.5,,,\n")
    val = write(tmp_path / "val.csv", rows_of("YghiX"))

    def of(**given: object) -> dict[str, list[str]]:
        annotations = SnapUGC(csv=train, videos=str(videos), **given).load()  # type: ignore[arg-type]
        return {name: sorted({one.id for one in annotations.rejects_of(name)}) for name in annotations.splits}

    assert of(val_csv=val) == {"train": ["", "X"], "val": ["X", "Y"]}
    assert of(val_csv=val, folds=2, fold=0) == {"train": ["", "X"], "val": [], "holdout": ["X", "Y"]}
    assert of(val_fraction=0.4) == {"train": ["", "X"], "val": []}
    assert of(val_csv=write(tmp_path / "none.csv", rows_of("Z"))) == {"train": ["", "X"], "val": ["Z"]}


def test_a_test_table_may_lack_labels_but_not_have_wrong_ones(tmp_path: Path, videos: Path) -> None:
    test = write(tmp_path / "test.csv", HEADER + "g,,,,\nh,0.5,,,\ni,bad,,,\n")
    data = SnapUGC(csv=write(tmp_path / "train.csv", rows_of("abcdef")), test_csv=test, videos=str(videos))
    annotations = data.load()
    assert [record.label for record in annotations.splits["test"]] == [None, 0.5]
    assert reasons(annotations) == {3: "ECR is 'bad', not a number"}


@pytest.mark.parametrize("text", ["Id,Title,Description,Download_link\ng,,,\n", HEADER + "g,,,,\nh,,,,\n"])
def test_a_validation_table_without_labels_is_told_to_be_a_test_table(tmp_path: Path, videos: Path, text: str) -> None:
    train, val = write(tmp_path / "train.csv", rows_of("abcdef")), write(tmp_path / "val_data.csv", text)
    with pytest.raises(AnnotationError, match=rf"data.val_csv needs labels .* is data.test_csv={val}: it is scored"):
        SnapUGC(csv=train, val_csv=val, videos=str(videos)).load()
    assert len(SnapUGC(csv=train, test_csv=val, videos=str(videos)).load().splits["test"]) > 0
    table = {"path": train, "val_path": val, "root": str(videos), "id_column": "Id"}
    with pytest.raises(AnnotationError, match=r"data.val_path needs labels .* is data.test_path="):
        Table(**table).load()  # type: ignore[arg-type]


def test_impossible_settings_are_reported_together() -> None:
    with pytest.raises(ConfigError) as error:
        SnapUGC(videos="x", val_fraction=1.0, folds=1, limit=0)
    assert [problem.split(":")[0] for problem in error.value.problems] == [
        "data.val_fraction=1.0",
        "data.folds=1 data.fold=None",
        "data.folds=1",
        "data.limit=0",
        "data.csv",
    ]
    with pytest.raises(ConfigError, match=r"data.fold=5: with data.folds=5 give 0 to 4."):
        SnapUGC(videos="x", csv="y", folds=5, fold=5)
    with pytest.raises(ConfigError, match=r"data.label.range=\[1, 0\]"):
        LabelScale(range=(1, 0))


def test_nothing_usable_is_an_error_that_lists_reasons(tmp_path: Path, videos: Path) -> None:
    with pytest.raises(AnnotationError, match=r"no usable row is left:\n  t\.csv row 1, Id absent: no video"):
        SnapUGC(csv=write(tmp_path / "t.csv", HEADER + "absent,1,,,\n"), videos=str(videos)).load()
    with pytest.raises(AnnotationError, match="the table has no rows"):
        SnapUGC(csv=write(tmp_path / "t.csv", HEADER), videos=str(videos)).load()


def test_labels_that_fill_little_of_the_declared_range_raise_a_doubt(tmp_path: Path, videos: Path) -> None:
    table = write(tmp_path / "t.csv", rows_of("abcdefghijklmn"))
    notes = SnapUGC(csv=table, videos=str(videos), label=LabelScale(range=(0, 100))).load().notes
    assert notes == ("All labels lie in 0..0.65, a small part of data.label.range=[0.0, 100.0]: is the range right?",)
    assert SnapUGC(csv=table, videos=str(videos)).load().notes == ()


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_a_table_with_other_columns_and_a_mos_range(tmp_path: Path, videos: Path, suffix: str) -> None:
    (videos / "sub").mkdir()
    (videos / "sub" / "clip.webm").write_bytes(b"y")
    cells = [
        ["name", "file", "mos", "who"],
        ["01", "a.mp4", "4.5", "u"],
        ["2", "sub/clip", "1", ""],
        ["3", "b", "0", ""],
    ]
    if suffix == ".jsonl":
        lines = ["{" + ",".join(f'"{k}":"{v}"' for k, v in zip(cells[0], row, strict=True)) + "}" for row in cells[1:]]
    else:
        lines = [{".csv": ",", ".tsv": "\t"}[suffix].join(row) for row in cells]
    data = Table(
        path=write(tmp_path / f"t{suffix}", "\n".join(lines)),
        root=str(videos),
        id_column="name",
        path_column="file",
        group_column="who",
        label=LabelScale(name="mos", range=(1, 5)),
    )
    annotations = data.read()
    assert [(r.id, *r.paths, r.label, r.group) for r in annotations.records] == [
        ("01", videos / "a.mp4", 4.5, "u"),
        ("2", videos / "sub" / "clip.webm", 1.0, None),
    ]
    assert reasons(annotations) == {3: "mos is 0, outside 1..5"}
