from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from evqa.datasets.duplicates import same_content
from evqa.datasets.splits import draw_subset, find_leaks, hold_out, join_groups, limit_splits, split_folds
from evqa.errors import AnnotationError
from evqa.types import Record


def make_records(number: int, *, groups: int | None = None) -> tuple[Record, ...]:
    return tuple(
        Record(
            id=f"v{at}",
            path=Path(f"v{at}.mp4"),
            label=at / number,
            group=f"g{at * 7 % groups}" if groups else None,
        )
        for at in range(number)
    )


def ids(records: tuple[Record, ...]) -> list[str]:
    return [record.id for record in records]


@pytest.mark.parametrize("number", [2, 3, 7, 15, 19, 20, 1000])
@pytest.mark.parametrize("fraction", [0.05, 0.1, 0.5, 0.9])
def test_a_fraction_is_held_out_and_nobody_is_lost(number: int, fraction: float) -> None:
    records = make_records(number)
    rest, held = hold_out(records, fraction=fraction, seed=0)
    assert sorted(ids(rest) + ids(held)) == sorted(ids(records))
    assert rest
    assert held
    assert abs(len(held) - fraction * number) <= 1


def test_the_held_out_labels_look_like_all_labels() -> None:
    _, held = hold_out(make_records(1000), fraction=0.1, seed=3)
    assert sorted(int(10 * (record.label or 0)) for record in held) == sorted(list(range(10)) * 10)


def test_a_division_depends_on_the_seed_but_not_on_the_order_of_rows() -> None:
    records = make_records(100)
    _, held = hold_out(records, fraction=0.2, seed=0)
    _, reversed_held = hold_out(records[::-1], fraction=0.2, seed=0)
    _, other = hold_out(records, fraction=0.2, seed=1)
    assert set(ids(held)) == set(ids(reversed_held))
    assert set(ids(held)) != set(ids(other))


@pytest.mark.parametrize("groups", [2, 5, 40])
def test_groups_stay_on_one_side(groups: int) -> None:
    rest, held = hold_out(make_records(200, groups=groups), fraction=0.1, seed=0)
    assert rest
    assert held
    assert not {record.group for record in rest} & {record.group for record in held}


@pytest.mark.parametrize("groups", [None, 13, 60])
@pytest.mark.parametrize("number", [103, 400])
def test_every_record_is_in_exactly_one_fold_of_like_size_and_labels(number: int, groups: int | None) -> None:
    records = make_records(number, groups=groups)
    folds = [split_folds(records, num_folds=5, fold=fold, seed=0) for fold in range(5)]
    assert Counter(name for _, held in folds for name in ids(held)) == Counter(ids(records))
    for rest, held in folds:
        assert set(ids(rest)) | set(ids(held)) == set(ids(records))
        assert len(held) == pytest.approx(number / 5, abs=2 if groups != 13 else number / 13)
        if groups is None:
            assert sum(record.label or 0 for record in held) / len(held) == pytest.approx(0.5, abs=0.03)
        else:
            assert not {record.group for record in rest} & {record.group for record in held}


def test_what_cannot_be_divided_is_said() -> None:
    with pytest.raises(AnnotationError, match="1 usable row cannot be divided"):
        hold_out(make_records(1), fraction=0.1, seed=0)
    with pytest.raises(AnnotationError, match="1 usable group cannot be divided"):
        hold_out(make_records(9, groups=1), fraction=0.1, seed=0)
    with pytest.raises(AnnotationError, match=r"data\.folds=5, but there are only 3 rows or groups"):
        split_folds(make_records(3), num_folds=5, fold=0, seed=0)


def test_a_limit_is_shared_in_proportion_and_stratified() -> None:
    records = make_records(1000)
    splits = limit_splits({"train": records[:800], "val": records[800:], "test": records[:100]}, limit=50, seed=0)
    assert {name: len(kept) for name, kept in splits.items()} == {"train": 40, "val": 10, "test": 5}
    subset = draw_subset(records, size=10, seed=0)
    assert [int(10 * (record.label or 0)) for record in subset] == list(range(10))
    assert draw_subset(records, size=5000, seed=0) == records


def test_groups_join_over_creators_and_contents() -> None:
    a, b, c, d = (replace(record, group=group) for record, group in zip(make_records(4), "xxyz", strict=True))
    joined = join_groups((a, b, c, d), {b.path: "hash", c.path: "hash"})
    assert joined[0].group == joined[1].group == joined[2].group
    assert joined[3].group == "z"
    assert join_groups(make_records(2), {}) == make_records(2)


def test_leaks_are_found_by_id_and_by_content() -> None:
    a, b, c = make_records(3)
    twin = replace(c, id="twin", path=Path("twin.mp4"))
    leaks = find_leaks({"val": (a, c), "train": (a, b, twin)}, {c.path: "hash", twin.path: "hash"})
    assert [(split, record.id, reason) for split, record, reason in leaks] == [
        ("train", "v0", "the Id is in the val table too"),
        ("train", "twin", "its file is the same as that of v2 in the val table"),
    ]


def test_equal_files_are_found_even_where_both_ends_agree(tmp_path: Path) -> None:
    big = bytes(1 << 18)
    contents = {"a": b"one", "b": b"one", "c": b"two", "d": big, "e": big[:9] + b"x" + big[10:], "f": big, "g": b"four"}
    contents["h"] = big[: 1 << 17] + b"x" + big[(1 << 17) + 1 :]
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    paths = {name: tmp_path / name for name in contents}
    found = same_content([*paths.values(), paths["g"]])
    assert set(found) == {paths[name] for name in "abdfg"}
    assert found[paths["a"]] == found[paths["b"]]
    assert found[paths["d"]] == found[paths["f"]]
