import contextlib
import json
import os
import random
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from scipy import io

from evqa.datasets import matlab
from evqa.datasets.table import Table
from evqa.datasets.tables import FileTable, format_of, read_table
from evqa.errors import AnnotationError
from evqa.files.separated import Quoting
from evqa.types import LabelScale
from tests.media import deadly


def read(folder: Path, content: str | bytes, name: str = "t.csv", quoting: Quoting = "rfc4180") -> FileTable:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_table(path, format=format_of(path), id_column="Id", quoting=quoting)


def reasons(table: FileTable) -> dict[int | None, str]:
    return {reject.row: reject.reason for reject in table.rejects}


def test_text_stays_what_it_is(tmp_path: Path) -> None:
    texts = ["None", "null", "NA", "<NA>", "nan", "#N/A", " spaces ", "007", "1e5", "Überraschung 視頻", 'say "hi"']
    quoted = [text.replace('"', '""') for text in texts]
    table = read(tmp_path, "\ufeffId,Title\r\n" + "".join(f'{n},"{text}"\r\n' for n, text in enumerate(quoted)))
    assert [row.values["Title"] for row in table.rows] == texts
    assert table.columns == ("Id", "Title")
    assert not table.rejects


def test_a_line_break_and_a_doubled_quote_inside_quotes_belong_to_the_text(tmp_path: Path) -> None:
    table = read(tmp_path, 'Id,Title\na,"two\nlines, and ""quotes"""\nb,x\n')
    assert [row.values["Title"] for row in table.rows] == ['two\nlines, and "quotes"', "x"]
    assert [(row.number, row.line) for row in table.rows] == [(1, 2), (2, 4)]


def test_a_bare_quote_inside_an_unquoted_text_is_kept(tmp_path: Path) -> None:
    assert read(tmp_path, 'Id,Title\na,6" of snow "really"\n').rows[0].values["Title"] == '6" of snow "really"'


def test_a_quote_that_never_closes_costs_its_own_row_only(tmp_path: Path) -> None:
    table = read(tmp_path, 'Id,Title\na,"never closed\nb,fine\nc,"also, fine"\nd,"open at the end\ne,last\n')
    assert [row.values["Id"] for row in table.rows] == ["b", "c", "e"]
    assert {reject.row: reject.id for reject in table.rejects} == {1: "a", 4: "d"}
    assert "its quotes do not follow RFC 4180" in reasons(table)[1]


def test_blank_lines_are_no_rows_and_unquoted_commas_are_said(tmp_path: Path) -> None:
    table = read(tmp_path, "Id,Title\n\na,stays at tea, stays there\n\nb\nc,ok\n")
    assert [row.number for row in table.rows] == [3]
    assert reasons(table) == {
        1: "has 3 fields where the header has 2; a comma inside a text needs quotes around the text (line 3)",
        2: "has 1 fields where the header has 2 (line 5)",
    }


def test_quotes_without_meaning_swallow_nothing(tmp_path: Path) -> None:
    table = read(tmp_path, 'Id\tTitle\na\t"open\nb\tfine"\n', name="t.tsv", quoting="none")
    assert [row.values["Title"] for row in table.rows] == ['"open', 'fine"']


def test_jsonl_keeps_numbers_as_they_are_written_and_names_bad_lines(tmp_path: Path) -> None:
    lines = ['{"Id": 1e2, "mos": 3.10}', '{"Id": "b", "Title": null}', "[1]", "{", '{"Id": {"a": 1}}', "[" * 100_000]
    table = read(tmp_path, "\n".join(lines), name="t.jsonl")
    assert [row.values for row in table.rows] == [
        {"Id": "1e2", "mos": "3.10", "Title": ""},
        {"Id": "b", "mos": "", "Title": ""},
    ]
    assert reasons(table)[3] == "is not a JSON object (line 3)"
    assert reasons(table)[5] == "holds a list or an object in 'Id'; cells are texts or numbers (line 5)"
    assert len(table.rejects) == 4


def test_a_list_in_json_is_a_table_whose_rows_are_its_objects(tmp_path: Path) -> None:
    rows = '[{"Id": "007.mp4", "mos": 0.8284171874620042, "level": 5}, 3, {"Id": "b", "more": {"a": 1}}, {"Id": "c"}]'
    table = read(tmp_path, "\n  " + rows, name="t.json")
    assert [row.values for row in table.rows] == [
        {"Id": "007.mp4", "mos": "0.8284171874620042", "level": "5"},
        {"Id": "c", "mos": "", "level": ""},
    ]
    assert [row.number for row in table.rows] == [1, 4]
    assert reasons(table) == {
        2: "is not a JSON object",
        3: "holds a list or an object in 'more'; cells are texts or numbers",
    }


def test_columns_of_a_matlab_file_are_a_table_and_all_else_in_it_is_not(tmp_path: Path) -> None:
    names = np.array([["A001.mp4"], ["B2"]], dtype=object)
    io.savemat(
        tmp_path / "t.mat", {"video_list": names, "mos": [[80.232], [57.3005]], "size": np.ones((3, 2)), "one": 1.0}
    )
    table = read_table(tmp_path / "t.mat", format="mat", id_column="video_list")
    assert [row.values for row in table.rows] == [
        {"video_list": "A001.mp4", "mos": "80.232"},
        {"video_list": "B2", "mos": "57.3005"},
    ]
    io.savemat(tmp_path / "t.mat", {"size": np.ones((3, 2))})
    with pytest.raises(AnnotationError, match=r"t\.mat: holds no column"):
        read_table(tmp_path / "t.mat", format="mat", id_column="video_list")


def test_a_matlab_file_that_its_reader_dies_of_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "segv.mat").write_bytes(b"x")
    monkeypatch.setattr(matlab, "load_columns", deadly.act_by_name)
    with pytest.raises(AnnotationError, match=r"cannot be read as a MATLAB file \(killed the process .*SIGSEGV"):
        matlab.read_mat(tmp_path / "segv.mat")


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("t.csv", b"", "t.csv is empty."),
        ("t.jsonl", b"\n\n", "t.jsonl is empty."),
        ("t.json", b"[]", "t.json is empty."),
        ("t.json", b'{"Id": "a"}', "t.json: holds no list of objects; give [{...}, {...}]."),
        ("t.json", b'[{"Id": "a"}\n{"Id": "b"}]', "t.json: is not JSON (Expecting ',' delimiter: line 2 column 1"),
        ("t.json", b"[" * 100_000, "t.json: is not JSON ("),
        ("t.mat", b"video_list,mos\n" * 20, "t.mat: cannot be read as a MATLAB file ("),
        ("t.mat", b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM", "it is in the format of MATLAB 7.3; save it with"),
        ("t.csv", b"Id,Title\na,\xff\n", "line 2 is not UTF-8 (byte 0xff); save it as UTF-8."),
        ("t.csv", "Id,Title\n".encode("utf-16"), "line 1 is not UTF-8 (byte 0xff)"),
        ("t.csv", b"Id,Title,Title\n", "column 'Title' occurs more than once in the header."),
        ("t.csv", b'"Id,Title\n', "bad header: its quotes do not follow RFC 4180"),
        ("t.csv", "Id,Title\n".encode("utf-16"), "it is UTF-16, as Excel's 'Unicode text'; save it as 'CSV UTF-8'."),
        ("t.csv", "Id,Title\n".encode("utf-16-le"), "the header holds zero bytes, as UTF-16 does; save it as UTF-8."),
        ("t.csv", b",,\n", "t.csv is empty."),
        ("t.csv", b"sep=,\n", "t.csv is empty."),
        ("t.csv", b"Id," * 50_000 + b"\n", "column 'Id' occurs more than once in the header."),
        ("t.xlsx", b"", "unknown kind of table; name it one of *.csv, *.tsv, *.txt, *.jsonl, *.ndjson, *.json, *.mat."),
    ],
)
def test_a_file_that_cannot_be_used_is_one_sentence(tmp_path: Path, name: str, content: bytes, sentence: str) -> None:
    with pytest.raises(AnnotationError, match="t\\.") as error:
        read(tmp_path, content, name=name)
    assert sentence in str(error.value)


def test_missing_files_and_columns_come_with_the_nearest_name(tmp_path: Path) -> None:
    table = read(tmp_path, "id,Titel,x\n")
    with pytest.raises(AnnotationError) as error:
        table.require("Id", "Title", "ECR")
    assert "no column 'Id' (did you mean 'id'?); no column 'Title' (did you mean 'Titel'?); no column 'ECR'" in str(
        error.value
    )
    with pytest.raises(AnnotationError, match=r"no such table \(did you mean 't.csv'\?\)"):
        read_table(tmp_path / "tt.csv", format="csv", id_column="Id")
    with pytest.raises(AnnotationError, match="cannot be read"):
        read_table(tmp_path, format="csv", id_column="Id")


PLAIN = [{"Id": "a", "Title": "x, y", "ECR": "0.5"}, {"Id": "b", "Title": "", "ECR": "0.25"}]


@pytest.mark.parametrize(
    "content",
    [
        'Id,Title,ECR\na,"x, y",0.5\nb,,0.25\n',
        'Id,Title,ECR,,\na,"x, y",0.5,,\nb,,0.25,,\n',
        'Id,Title,ECR\na,"x, y",0.5,\nb,,0.25,\n',
        'Id,Title,,ECR\na,"x, y",,0.5\nb,,,0.25\n',
        ',Id,Title,ECR\n0,a,"x, y",0.5\n1,b,,0.25\n',
        'sep=,\nId,Title,ECR\na,"x, y",0.5\nb,,0.25\n',
        '"sep=;"\r\nId;Title;ECR\r\na;x, y;0.5\r\nb;;0.25\r\n',
        "Id;Title;ECR\na;x, y;0.5\nb;;0.25\n",
        "Id\tTitle\tECR\na\tx, y\t0.5\nb\t\t0.25\n",
        "Id|Title|ECR\na|x, y|0.5\nb||0.25\n",
        'Id,Title,ECR\ra,"x, y",0.5\rb,,0.25\r\r',
        '\ufeff Id , Title,ECR \n\n\na,"x, y",0.5\n,,\nb,,0.25\n , ,\n\n',
        "Id;Title;ECR\na;x, y;0,5\nb;;0,25\n",
    ],
)
def test_what_spreadsheets_write_is_read(tmp_path: Path, content: str) -> None:
    table = read(tmp_path, content).with_decimal_points("ECR")
    assert [row.values for row in table.rows] == PLAIN
    assert not table.rejects


@pytest.mark.parametrize(
    ("content", "note"),
    [
        ("Id;Title\na;b\n", "t.csv: its cells are separated by semicolons."),
        (",Id,Title\n0,a,b\n", "t.csv: column 1 has no name in the header and is not read."),
        ("Id;ECR\na;0,5\n", "t.csv: ECR is written with decimal commas (0,5); read as points."),
    ],
)
def test_another_way_of_writing_is_said(tmp_path: Path, content: str, note: str) -> None:
    assert note in read(tmp_path, content).with_decimal_points("ECR").notes


def test_three_decimals_are_no_thousands_where_the_scale_ends_below_them(tmp_path: Path) -> None:
    table = read(tmp_path, "Id;ECR\na;1,234\nb;4,000\n").with_decimal_points("ECR", high=5)
    assert [row.values["ECR"] for row in table.rows] == ["1.234", "4.000"]


@pytest.mark.parametrize("name", ["t.txt", "t.csv"])
def test_a_list_without_a_header_says_so_and_its_columns_can_be_named(tmp_path: Path, name: str) -> None:
    lines = "a/1.mp4, -1, -1, 2.5\na/2.mp4, -1, -1, 3\n"  # as DOVER's
    (tmp_path / "v/a").mkdir(parents=True)
    for clip in ("1", "2"):
        (tmp_path / f"v/a/{clip}.mp4").write_text(clip)
    (tmp_path / name).write_text(lines)
    label = LabelScale(name="mos", range=(1, 5))
    table = partial(Table, path=str(tmp_path / name), root=str(tmp_path / "v"), label=label, val_fraction=0)
    with pytest.raises(
        AnnotationError,
        match=r"its first line is data \(a/1.mp4, -1, -1, 2.5\).* in front. Or .*'data.columns=\[id,_,_,mos\]'",
    ):
        table().read()
    found = table(columns=["id", "_", "_", "mos"]).read()
    assert [(record.id, record.label) for record in found.records] == [("a/1.mp4", 2.5), ("a/2.mp4", 3)]
    with pytest.raises(AnnotationError, match=r"has 4 cells .*, and data.columns names 2"):
        table(columns=["id", "mos"]).read()


def test_a_header_of_years_is_a_header(tmp_path: Path) -> None:
    assert read(tmp_path, "name,2024,mos\na,1,2.5\n").columns == ("name", "2024", "mos")


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("t.csv", "Id,MOS\na,3\n", "no column 'id' for data.id_column (did you mean 'Id'?); no column 'mos' for data."),
        (
            "t.csv",
            "Id,MOS\na,3\n",
            "Its columns are: Id, MOS. Say which it is: data.id_column=COLUMN data.label.name=COLUMN.",
        ),
        ("t.txt", "id mos\na 3\n", "are: id mos. Only commas, semicolons, tabs, vertical bars separate cells."),
        ("t.json", '[{"image": "a", "conversations": []}]', "LLaVA and VQA² publish them are read by data=llava, or"),
        ("t.json", '[["a", 3]]', "no item of its list can be read; the first fault: is not a JSON object."),
    ],
)
def test_a_published_table_of_another_form_is_told_with_what_to_do(
    tmp_path: Path, name: str, content: str, sentence: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(AnnotationError) as error:
        Table(path=str(tmp_path / name), root=str(tmp_path), label=LabelScale(name="mos", range=(1, 5))).read()
    assert sentence in str(error.value)


@pytest.mark.parametrize("cells", [["1,234", "2,345"], ["0,5", "0.5"], ["5", "6"], [""]])
def test_commas_in_numbers_are_left_alone_where_they_may_mean_something_else(tmp_path: Path, cells: list[str]) -> None:
    table = read(tmp_path, "Id;ECR\n" + "".join(f"{n};{cell}\n" for n, cell in enumerate(cells)))
    assert [row.values["ECR"] for row in table.with_decimal_points("ECR").rows] == cells


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a,hello, world,", "holds ' world' in column 3, which has no name in the header; name it, or a comma inside"),
        ("a,b,c,3,54", "has 5 fields where the header has 4; a number with a decimal comma needs quotes around it, or"),
        ("a,b,,,x", "has 5 fields where the header has 4; a comma inside a text needs quotes around the text"),
        ('a,"' + "x" * 200_000, "a cell has more than 131072 characters; perhaps a quote is never closed"),
    ],
)
def test_content_without_a_column_costs_its_row(tmp_path: Path, line: str, reason: str) -> None:
    table = read(tmp_path, f"Id,Title,,\n{line}\nb,c,,\n")
    assert [row.values["Id"] for row in table.rows] == ["b"]
    assert reasons(table)[1].startswith(reason)


def test_names_without_utf8_are_written_as_escapes_in_jsonl_and_half_characters_are_refused(tmp_path: Path) -> None:
    lines = [json.dumps({"Id": os.fsdecode(b"caf\xe9")}), '{"Id": "\\ud83d"}']
    table = read(tmp_path, "\n".join(lines), name="t.jsonl")
    assert [os.fsencode(row.values["Id"]) for row in table.rows] == [b"caf\xe9"]
    assert reasons(table)[2] == "holds one half of a character (a lone surrogate) (line 2)"


@pytest.mark.parametrize("place", ["pipe", "/dev/zero", "link", "folder"])
def test_only_files_are_read(tmp_path: Path, place: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    (tmp_path / "folder").mkdir()
    with pytest.raises(AnnotationError, match=r"cannot be read as a table \(is a (pipe|device|folder).*, not a file\)"):
        read_table(tmp_path / place, format="csv", id_column="Id")


PIECES = [b"\0", b'"', b"\n", b"\r", b",", b";", b"\xff", b"\xff\xfe", b"{", b'"' * 99, b",\n" * 50, b"x" * 200_000]


def spoiled(content: bytes, chance: random.Random) -> bytes:
    """Cut, flip, insert or repeat."""
    data = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data) + 1)
        piece = chance.choice(PIECES)
        match chance.randrange(4):
            case 0:
                del data[at:]
            case 1:
                data[at:at] = piece
            case 2:
                data[at : at + 1] = bytes([chance.randrange(256)])
            case 3:
                data[at:at] = data[chance.randrange(len(data) + 1) :]
    return bytes(data)


def test_a_spoiled_table_is_read_or_refused_in_a_sentence(tmp_path: Path) -> None:
    chance, began = random.Random(11), time.monotonic()
    rows = [{"Id": f"v{n:02}", "Title": 'a, ""b""\n' * (n % 3), "ECR": n / 40} for n in range(20)]
    text = "Id,Title,ECR\n" + "".join(f'{row["Id"]},"{row["Title"]}",{row["ECR"]}\n' for row in rows)
    kinds = {
        "t.csv": text,
        "t.tsv": text.replace(",", "\t"),
        "t.jsonl": "\n".join(map(json.dumps, rows)),
        "t.json": json.dumps(rows),
    }
    for name, content in [*kinds.items()] * 40:
        with contextlib.suppress(AnnotationError):  # whose texts the tests above read
            table = read(tmp_path, spoiled(content.encode(), chance), name=name).with_decimal_points("ECR")
            assert all(isinstance(cell, str) for row in table.rows for cell in row.values.values())
            assert all(reject.reason for reject in table.rejects)
    assert time.monotonic() - began < 60
