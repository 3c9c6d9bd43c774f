from pathlib import Path

import pytest

from evqa.datasets.tables import Quoting, Table, format_of, read_table
from evqa.errors import AnnotationError


def read(folder: Path, content: str | bytes, name: str = "t.csv", quoting: Quoting = "rfc4180") -> Table:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_table(path, format=format_of(path), id_column="Id", quoting=quoting)


def reasons(table: Table) -> dict[int | None, str]:
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


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("t.csv", b"", "t.csv is empty."),
        ("t.jsonl", b"\n\n", "t.jsonl is empty."),
        ("t.csv", b"Id,Title\na,\xff\n", "line 2 is not UTF-8 (byte 0xff); save it as UTF-8."),
        ("t.csv", "Id,Title\n".encode("utf-16"), "line 1 is not UTF-8 (byte 0xff)"),
        ("t.csv", b"Id,Title,Title\n", "column 'Title' occurs more than once in the header."),
        ("t.csv", b'"Id,Title\n', "bad header: its quotes do not follow RFC 4180"),
        ("t.xlsx", b"", "unknown kind of table; name it one of *.csv, *.tsv, *.txt, *.jsonl, *.ndjson."),
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
