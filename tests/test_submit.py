"""One prediction file, checked before it is handed in."""

import zipfile

import pytest

from evqa.submit import main

GOOD = "Id,ECR\na,0.1\nb,0.5\n007,0.9\n"


@pytest.fixture
def submit(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text('Id,Title,Description\na,"x, y",\nb,"never closed,\n007,,\nb,"never closed,\n')

    def run(content, *flags):
        (tmp_path / "p.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
        try:
            main(["p.csv", "--targets", "t.csv", *flags])
            code = 0
        except SystemExit as ended:
            code = ended.code
        return code, "".join(capsys.readouterr())

    return run


@pytest.mark.parametrize("content", [GOOD, GOOD.replace("\n", "\r\n"), GOOD.rstrip(), GOOD.replace("b,", '"b",')])
def test_a_complete_file_passes(submit, content):
    code, said = submit(content, "--range", "0,1")
    assert code == 0
    assert said == "p.csv: the 3 ids of t.csv, each once and in order; every score is finite (0.1 to 0.9).\n"


@pytest.mark.parametrize(
    ("content", "flags", "sentence"),
    [
        ("Id,ECR\na,0.1\nb,0.5\n", [], "p.csv: 1 of the 3 ids are missing: 007."),
        (GOOD + "c,1\nd,1\n", [], "p.csv: 2 ids are unknown: c, d."),
        (GOOD + "a,0.1\n", [], "p.csv: 1 ids occur more than once: a."),
        ("Id,ECR\nb,0.5\na,0.1\n007,0.9\n", [], "the ids are in another order: row 1 is b, a is expected."),
        (GOOD.replace("007", "7"), [], "1 of the 3 ids are missing: 007."),
        (GOOD.replace("0.5", "nan"), [], "p.csv: 1 scores are not finite numbers: b (nan)."),
        (GOOD.replace("0.5", "1e999"), [], "not finite numbers: b (1e999)"),
        (GOOD.replace("0.5", ""), [], "not finite numbers: b (empty)"),
        (GOOD.replace("0.5", "high"), [], "not finite numbers: b (high)"),
        (GOOD.replace("0.5", "1_0"), [], "not finite numbers: b (1_0)"),
        (GOOD.replace("0.5", "50"), ["--range", "0,1"], "p.csv: 1 scores are outside 0..1: b (50)."),
        (GOOD.replace("ECR", "ecr"), [], "the first line is 'Id,ecr', it must be exactly 'Id,ECR'."),
        (GOOD, ["--label", "mos"], "it must be exactly 'Id,mos'."),
        (GOOD.replace(",", ";"), [], "the first line is 'Id;ECR', it must be exactly 'Id,ECR'."),
        (",Id,ECR\n0,a,0.1\n", [], "the first line is ',Id,ECR'"),
        (GOOD + "c,1,2\n", [], "has 3 fields where the header has 2"),
        ("", [], "the file is empty"),
        ("Id,ECR\n", [], "3 of the 3 ids are missing: a, b, 007."),
        (GOOD, ["--range", "1,0"], "--range 1,0: give two numbers, the lower one first: --range 0,1."),
        (GOOD.encode("utf-16"), [], "it is UTF-16"),
    ],
)
def test_what_is_wrong_is_a_sentence(submit, content, flags, sentence):
    code, said = submit(content, *flags)
    assert code == 2
    assert sentence in said


def test_all_that_is_wrong_is_said_at_once(submit):
    _, said = submit("Id,ECR\nb,nan\nb,0.5\nz,7\n", "--range", "0,1")
    assert [line.partition(": ")[2].split()[1:3] for line in said.splitlines()] == [
        *(["of", "the"], ["ids", "are"], ["ids", "occur"], ["scores", "are"])
    ]


def test_the_same_file_is_packed_into_the_same_bytes(submit, tmp_path):
    assert submit(GOOD, "--zip")[0] == 0
    first = (tmp_path / "p.zip").read_bytes()
    assert submit(GOOD, "--zip")[1].endswith("Wrote p.zip\n")
    assert (tmp_path / "p.zip").read_bytes() == first
    with zipfile.ZipFile(tmp_path / "p.zip") as packed:
        assert packed.namelist() == ["p.csv"]
        assert packed.read("p.csv").decode() == GOOD


def test_the_published_example_passes(media, capsys):
    main([str(media / "submission_example.csv"), "--targets", str(media / "val_data.csv"), "--range", "0,1"])
    assert "the 20 ids of" in capsys.readouterr().out
