"""Tables that are read row by row."""

import json
import tracemalloc

import pytest

from evqa.datasets.streaming import open_table
from evqa.errors import AnnotationError, MissingDependencyError

COMMA = "a comma inside a text needs quotes around the text"


def rows(path, *columns):
    return list(open_table(path, id_column="Id").rows(columns))


def test_the_same_rows_are_read_from_every_format_and_as_often_as_asked(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    given = [{"Id": "007", "Title": "a, \"b\"\n'c'", "n": 1}, {"Id": "None", "Title": "ü 视频", "n": 2}]
    (tmp_path / "t.csv").write_text('\ufeffId,Title,n\n007,"a, ""b""\n\'c\'",1\n\nNone,ü 视频,2\n')
    (tmp_path / "t.tsv").write_text('Id\tTitle\tn\n007\t"a, ""b""\n\'c\'"\t1\nNone\tü 视频\t2\n')
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(one) + "\n" for one in given))
    parquet.write_table(pyarrow.Table.from_pylist(given), tmp_path / "t.parquet")
    expected = [(1, ("1", "007", "a, \"b\"\n'c'"), ""), (2, ("2", "None", "ü 视频"), "")]
    for kind in ("csv", "tsv", "jsonl", "parquet"):
        table = open_table(tmp_path / f"t.{kind}", id_column="Id")
        assert table.columns == ("Id", "Title", "n")
        assert [list(table.rows(("n", "Id", "Title"))) for _ in range(2)] == [expected, expected], kind


def test_a_bad_row_costs_itself_and_says_its_line(tmp_path):
    (tmp_path / "t.csv").write_text('Id,Title\na,x\nb\nc,"open\nd,y,z\ne,w\n')
    assert rows(tmp_path / "t.csv", "Id", "Title") == [
        (1, ("a", "x"), ""),
        (2, ("b", ""), "has 1 fields where the header has 2 (line 3)"),
        (3, ("c", '"open'), "its quotes do not follow RFC 4180: unexpected end of data (line 4)"),
        (
            4,
            ("d", "y"),
            "has 3 fields where the header has 2; a comma inside a text needs quotes around the text (line 5)",
        ),
        (5, ("e", "w"), ""),
    ]
    (tmp_path / "t.jsonl").write_text('{"id": "a"}\n[1]\n{"id": null, "x": "late"}\n{')
    assert rows(tmp_path / "t.jsonl", "id", "x") == [
        (1, ("a", ""), ""),
        (2, ("", ""), "is not a JSON object (line 2)"),
        (3, ("", "late"), ""),
        (4, ("", ""), "is not JSON: Expecting property name enclosed in double quotes at column 2 (line 4)"),
    ]


def test_lists_in_columns_that_are_not_asked_for_cost_nothing(tmp_path):
    (tmp_path / "t.jsonl").write_text('{"id": "a", "tags": ["x"]}\n')
    assert rows(tmp_path / "t.jsonl", "id") == [(1, ("a",), "")]
    assert "holds a list or an object in 'tags'" in rows(tmp_path / "t.jsonl", "id", "tags")[0].fault


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("t.csv", b"", "t.csv is empty."),
        ("t.csv", b"Id,a\nx,\xff\n", "line 2 is not UTF-8 (byte 0xff)"),
        ("t.jsonl", b"", "the file is empty"),
        ("t.jsonl", b"1\n", "no line is a JSON object; the first fault: is not a JSON object"),
        ("t.jsonl", b'{"id": "a"}\n{"id": "\xff"}\n', "line 2 is not UTF-8 (byte 0xff)"),
        ("t.parquet", b"PAR1", "cannot be read as a Parquet table"),
        ("t.doc", b"", "unknown kind of table; name it one of *.csv, *.tsv, *.jsonl, *.ndjson, *.parquet."),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_in_a_sentence(tmp_path, name, content, sentence):
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AnnotationError) as caught:
        rows(tmp_path / name)
    assert sentence in str(caught.value)


def test_columns_of_a_parquet_table_that_are_no_texts_are_refused(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"id": ["a"], "tags": [["x"]], "raw": [b"x"]}), tmp_path / "t.parquet")
    for column in ("tags", "raw"):
        with pytest.raises(AnnotationError, match=f"column '{column}' holds lists, objects or bytes"):
            rows(tmp_path / "t.parquet", "id", column)
    assert rows(tmp_path / "t.parquet", "id") == [(1, ("a",), "")]


def test_without_pyarrow_a_sentence_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    with pytest.raises(MissingDependencyError, match=r"pip install 'evqa\[parquet\]', or take CSV or JSONL"):
        rows(tmp_path / "t.parquet")


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_long_table_needs_no_more_memory_than_a_short_one(tmp_path, kind):
    path = tmp_path / f"t.{kind}"
    with path.open("w") as file:
        file.write("Id,Title\n" if kind == "csv" else "")
        for number in range(20_000):
            file.write(
                f"{number},{'x' * 200}\n" if kind == "csv" else json.dumps({"Id": str(number), "t": "x" * 200}) + "\n"
            )
    tracemalloc.start()
    assert sum(1 for _ in open_table(path, id_column="Id").rows(("Id",))) == 20_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000 < path.stat().st_size
