import sys

import pytest

from evqa import __version__
from evqa.cli import command, commands, main
from evqa.errors import RunError


def test_commands_are_the_modules_with_a_main():
    known = commands()
    assert {"train", "prepare", "eval", "predict"} <= set(known)
    assert not {"cli", "loading", "types"} & set(known)
    assert known["train"] == "Train a scorer, evaluate it and write its predictions."


def test_without_a_command_they_are_listed(capsys):
    assert main([]) == 2
    assert main(["--help"]) == 0
    assert "train" in capsys.readouterr().out


def test_an_unknown_command_is_told_the_nearest(capsys):
    assert main(["trian"]) == 2
    assert capsys.readouterr().err == "evqa trian: there is no such command. Did you mean 'train'?\n"


def test_the_version_is_printed(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"evqa {__version__}\n"


def test_arguments_reach_the_command(capsys):
    assert main(["train", "modle=3"]) == 2
    assert capsys.readouterr().err.startswith("modle: ")
    assert main(["train", "--help"]) == 0
    assert "Usage: python -m evqa.train" in capsys.readouterr().out


@pytest.mark.parametrize(("error", "code", "text"), [(RunError("gone"), 2, "gone\n"), (KeyboardInterrupt(), 130, "")])
def test_a_command_ends_with_a_sentence_or_quietly(error, code, text, capsys):
    @command
    def fails(arguments):
        raise error

    with pytest.raises(SystemExit) as caught:
        fails([])
    assert caught.value.code == code
    assert capsys.readouterr().err == text


def test_listing_commands_imports_none_of_them():
    sys.modules.pop("evqa.eval", None)
    commands()
    assert "evqa.eval" not in sys.modules
