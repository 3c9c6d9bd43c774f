"""A list in JSON, read in windows, beside json.loads of the whole text."""

import json
import random
import tracemalloc

import pytest

from evqa.errors import AnnotationError
from evqa.files import json_list

TEXT = """
[ {"image": "a.mp4", "n": [1.50, -0, 1e5]},
\t{"é": "\\u00e9\\n]\\"", "x": {"y": null}} , "z,]", 12 ,[],true ]
 """


def read(path, text):
    path.write_text(text, encoding="utf-8", newline="")
    return list(json_list.read_list(path))


def whole(text):
    """The same by the standard library; an error as its message and place."""
    value = json.loads(text, parse_float=str, parse_int=str)
    if not isinstance(value, list):
        raise AnnotationError("holds no list of objects")
    return value


@pytest.mark.parametrize("chunk", [1, 2, 7, 1000])
def test_every_size_of_the_window_gives_the_same_values(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(json_list, "_CHUNK", chunk)
    assert read(tmp_path / "t.json", TEXT) == whole(TEXT)
    assert read(tmp_path / "t.json", "\ufeff[]") == []


def test_a_damaged_text_is_refused_at_the_place_where_the_standard_library_refuses_it(tmp_path, monkeypatch):
    draw, refused = random.Random(0), 0
    for number in range(600):
        monkeypatch.setattr(json_list, "_CHUNK", draw.randint(1, 30))
        at = draw.randrange(len(TEXT))
        change = draw.choice(["", '"', ",", "]", "{", "x", "\n"])
        text = TEXT[:at] if number % 5 == 0 else TEXT[:at] + change + TEXT[at + draw.randint(0, 2) :]
        try:
            expected = whole(text)
        except json.JSONDecodeError as error:
            refused += 1
            with pytest.raises(AnnotationError) as caught:
                read(tmp_path / "t.json", text)
            sentence = f"{tmp_path}/t.json: is not JSON ({error.msg}: line {error.lineno} column {error.colno})."
            # What is no list is refused as such; of a comma before `]` newer Pythons have a message of their own.
            has_own = not text.lstrip().startswith("[") or "trailing comma" in error.msg
            assert has_own or str(caught.value) == sentence, text
        except AnnotationError:
            with pytest.raises(AnnotationError, match="holds no list of objects"):
                read(tmp_path / "t.json", text)
        else:
            assert read(tmp_path / "t.json", text) == expected
    assert 300 < refused < 600


def test_a_long_list_needs_no_more_memory_than_a_window(tmp_path):
    path = tmp_path / "t.json"
    path.write_text(json.dumps([{"text": f"{number} " + "x" * 1000} for number in range(20_000)]))
    tracemalloc.start()
    assert sum(len(value) for value in json_list.read_list(path)) == 20_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * json_list._CHUNK < path.stat().st_size


def test_bytes_that_are_not_utf8_are_named_with_their_line(tmp_path):
    (tmp_path / "t.json").write_bytes(b'["a",\n"\xff"]')
    with pytest.raises(AnnotationError, match=r"t\.json: line 2 is not UTF-8 \(byte 0xff\)"):
        list(json_list.read_list(tmp_path / "t.json"))
