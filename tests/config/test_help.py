import contextlib

import pytest

from evqa.cli import commands, main


@pytest.mark.parametrize("words", [["train"], ["train", "data=table"], ["benchmark"], ["runs"], ["completion"], []])
@pytest.mark.parametrize("columns", [60, 80, 120])
def test_help_fits_and_breaks_no_word(words, columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "10000")
    told = []
    for width in ("10000", str(columns)):
        monkeypatch.setenv("COLUMNS", width)
        with contextlib.suppress(SystemExit):
            main([*words, "--help"])
        told.append(capsys.readouterr().out)
    whole, fitted = told
    assert max(map(len, fitted.splitlines())) <= columns
    assert set(fitted.split()) <= set(whole.split())
    assert words or all(name in fitted for name in commands())


def test_an_options_keys_are_listed_with_values_and_remarks(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "100")
    assert main(["train", "data=table", "--help"]) == 0
    lines = [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines()]
    assert ["data.val_fraction=0.1", "#", "float with 0 <= val_fraction < 1"] in lines
    assert ["data.label.range=???", "#", "its scale, e.g. [1, 5]"] in lines
    assert ["data.path_pattern", "#", "str or null"] in lines  # an argument that the file does not mention


def test_a_recipe_is_shown_as_it_is_and_a_wrong_option_is_told_the_nearest(capsys):
    assert main(["train", "sweep=demo", "--help"]) == 0
    assert "    epochs: 10\n" in capsys.readouterr().out
    assert main(["train", "data=tabel", "--help"]) == 2
    assert capsys.readouterr().err == "data=tabel: no such option. Did you mean 'table'?\n"


def test_an_option_of_a_folder_of_ones_own_is_shown_as_it_is(tmp_path, capsys):
    (tmp_path / "loss").mkdir()
    (tmp_path / "loss/mine.yaml").write_text("defaults: [mse]\n")
    assert main(["train", "--config-dir", str(tmp_path), "loss=mine", "--help"]) == 0
    assert capsys.readouterr().out == "loss=mine sets:\n\n  defaults: [mse]\n"
