"""Values as JSON has them."""

import json
import math

import numpy as np

from evqa.files.plain import plain, write_json


def test_numbers_that_are_not_finite_become_null_at_any_depth():
    value = {"a": [1.5, math.nan, (math.inf, "x")], "b": {"c": -math.inf, "d": None, "e": True}, "f": np.float64("nan")}
    assert plain(value) == {"a": [1.5, None, [None, "x"]], "b": {"c": None, "d": None, "e": True}, "f": None}


def test_a_json_file_ends_with_a_line_and_is_read_back_as_it_was(tmp_path):
    content = {"score": 0.1 + 0.2, "none": math.nan, "name": "vidéo"}
    write_json(tmp_path / "new" / "a.json", content)
    text = (tmp_path / "new" / "a.json").read_text(encoding="utf-8")
    assert text.endswith("}\n")
    assert json.loads(text) == {**content, "none": None}
