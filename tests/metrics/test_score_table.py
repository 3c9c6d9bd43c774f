import math

import pytest

from evqa.errors import AnnotationError
from evqa.metrics import read_labels, read_scores, write_scores
from evqa.metrics.score_table import columns_of, listed, read_ids


def test_scores_come_back_with_full_precision_and_as_they_were_ordered(tmp_path):
    scores = {"b": 0.1 + 0.2, "0001": 1 / 3, 'a,"q"': -5.0}
    write_scores(tmp_path / "new" / "val.csv", scores, label="ECR")
    table = read_scores(tmp_path / "new" / "val.csv")
    assert (table.label, dict(table.values), list(table.values)) == ("ECR", scores, list(scores))
    assert (tmp_path / "new" / "val.csv").read_text().startswith("Id,ECR\nb,0.30000000000000004\n")


def test_labels_are_read_beside_other_columns_and_may_be_unknown(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text('\ufeffId,Title,ECR\nx,"None, ""really""",0.5\ny,,\n', encoding="utf-8")
    values = read_labels(path, label="ECR").values
    assert values["x"] == 0.5
    assert math.isnan(values["y"])
    assert read_ids(path) == ["x", "y"]


def test_bare_quotes_in_a_tsv_swallow_no_rows(tmp_path):
    path = tmp_path / "data.tsv"
    path.write_text('Id\tTitle\tECR\nx\t"bare\t0.5\ny\tz"\t0.25\n')
    assert dict(read_labels(path, label="ECR").values) == {"x": 0.5, "y": 0.25}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty"),
        ("Id,ECR\n", "column names and no rows"),
        ("Id,ECR,Title\nx,1,t\n", "the columns are Id, ECR, Title; a file of scores has exactly 'Id'"),
        ("id,ECR\nx,1\n", "the columns are id, ECR"),
        ("Id,ECR\nx,1\nx,2\n", "1 ids occur more than once: x"),
        ("Id,ECR\nx,1\ny,high\n", "row 2 (Id y): 'ECR' is 'high', a number is expected"),
        ("Id,ECR\nx,\ny,nan\n", "2 of 2 scores are not finite: x, y"),
        ("Id,ECR\nx\n", "1 of 1 scores are not finite: x"),
    ],
)
def test_a_bad_file_of_scores_is_a_sentence_with_the_file_and_the_row(tmp_path, content, message):
    path = tmp_path / "scores.csv"
    path.write_text(content)
    with pytest.raises(AnnotationError) as error:
        read_scores(path)
    assert str(path) in str(error.value)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("read", "content", "message"),
    [
        (read_scores, "", "the file is empty; a first line with column names is expected."),
        (read_scores, "Id,ECR\n", "the file has column names and no rows."),
        (
            read_scores,
            "Id,ECR,Title\nx,1,t\n",
            "the columns are Id, ECR, Title; a file of scores has exactly 'Id' and the label's name.",
        ),
        (read_scores, "Id\nx\n", "the columns are Id; a file of scores has exactly 'Id' and the label's name."),
        (read_scores, "Id,ECR\nx,1\nx,2\nx,2\ny,2\n", "2 ids occur more than once: x, x."),
        (read_scores, "Id,ECR\nx,1\ny,inf\n", "1 of 2 scores are not finite: y."),
        (read_ids, "id,ECR\nx,1\n", "no column 'Id'; the file has id, ECR."),
        (read_ids, "Id\nx\nx\n", "1 ids occur more than once: x."),
        (lambda path: read_labels(path, label="MOS"), "Id,ECR\nx,1\n", "no column 'MOS'; the file has Id, ECR."),
        (lambda path: read_labels(path, label="ECR"), "id,ECR\nx,1\n", "no column 'Id'; the file has id, ECR."),
        (
            read_ids,
            "Id\n" + "".join(f"{at}\n{at}\n" for at in range(7)),
            "7 ids occur more than once: 0, 1, 2, 3, 4 and 2 more.",
        ),
    ],
)
def test_the_whole_sentence_about_a_bad_table(tmp_path, read, content, message):
    path = tmp_path / "table.csv"
    path.write_text(content)
    with pytest.raises(AnnotationError) as error:
        read(path)
    assert str(error.value) == f"{path}: {message}"


def test_the_first_five_names_are_listed_and_the_rest_counted():
    assert listed("abcde") == "a, b, c, d, e"
    assert listed("abcdef") == "a, b, c, d, e and 1 more"
    assert listed("abc", shown=1) == "a and 2 more"
    assert listed([]) == ""


@pytest.mark.parametrize("name", ["data.tsv", "DATA.TSV"])
def test_columns_of_a_tsv_are_told_apart_by_tabs(tmp_path, name):
    (tmp_path / name).write_text("Id\tA,B\nx\t1\n")
    assert columns_of(tmp_path / name) == ["Id", "A,B"]


def test_names_of_files_that_are_no_utf8_stay_what_they_are(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_bytes(b"Id,ECR\n\xe9.mp4,0.5\n")
    assert dict(read_scores(path).values) == {"\udce9.mp4": 0.5}


def test_spaces_around_a_number_do_not_matter_and_lines_end_as_on_unix(tmp_path):
    path = tmp_path / "spaces.csv"
    path.write_text("Id,ECR\nx, 0.5 \ny,  \n")
    values = read_labels(path, label="ECR").values
    assert values["x"] == 0.5
    assert math.isnan(values["y"])
    write_scores(tmp_path / "a" / "out.csv", {"\xfc": 1}, label="MOS")
    write_scores(tmp_path / "a" / "out.csv", {"\xfc": 2}, label="MOS")
    assert (tmp_path / "a" / "out.csv").read_bytes() == "Id,MOS\n\xfc,2.0\n".encode()
    assert [file.name for file in (tmp_path / "a").iterdir()] == ["out.csv"]


def test_a_missing_file_or_label_column_is_a_sentence(tmp_path):
    with pytest.raises(AnnotationError, match="cannot be read as a table"):
        read_scores(tmp_path / "absent.csv")
    (tmp_path / "ids.csv").write_text("Id,Title\nx,y\n")
    with pytest.raises(AnnotationError, match="no column 'ECR'; the file has Id, Title"):
        read_labels(tmp_path / "ids.csv", label="ECR")
