"""Imports without garbage collection, and what later collections look at."""

import gc
import importlib
import sys

from evqa.machine.imports import collect_again, importing

NAME = "made_to_be_imported"


def test_an_import_is_not_collected_and_left_out_of_later_collections(tmp_path, monkeypatch):
    (tmp_path / f"{NAME}.py").write_text("import gc\nWAS_ENABLED = gc.isenabled()\nKEPT = [[]]\n")
    monkeypatch.syspath_prepend(tmp_path)
    frozen = []
    try:
        for _time in range(2):  # the second one imports nothing
            gc.unfreeze()
            with importing():
                module = importlib.import_module(NAME)
            frozen.append(gc.get_freeze_count())
            assert gc.isenabled()
    finally:
        gc.unfreeze()
        sys.modules.pop(NAME, None)
    assert not module.WAS_ENABLED
    assert frozen[0] > 1000
    assert frozen[1] == 0


def test_collection_begins_again_and_only_then_is_anything_left_out():
    try:
        collect_again()
        assert gc.get_freeze_count() == 0
        gc.disable()
        with importing():
            pass
        assert not gc.isenabled(), "what held collection before an import goes on to"
        collect_again()
        assert gc.isenabled()
        assert gc.get_freeze_count() > 1000
    finally:
        gc.enable()
        gc.unfreeze()
