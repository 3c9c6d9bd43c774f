import hashlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from evqa.datasets.duplicates import same_content
from evqa.datasets.splits import draw_subset, find_leaks, group_names, hold_out, join_groups, limit_splits, split_folds
from evqa.errors import AnnotationError
from evqa.types import Record


def make_records(number: int, *, groups: int | None = None) -> tuple[Record, ...]:
    return tuple(
        Record(
            id=f"v{at}",
            paths=(Path(f"v{at}.mp4"),),
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
    for number in (2, 9):
        with pytest.raises(AnnotationError) as error:
            hold_out(make_records(number, groups=1), fraction=0.1, seed=0)
        assert str(error.value) == ("1 usable group cannot be divided; give data.val_csv, or set data.val_fraction=0.")
    with pytest.raises(AnnotationError, match=r"data\.folds=5, but there are only 3 rows or groups"):
        split_folds(make_records(3), num_folds=5, fold=0, seed=0)


def test_a_limit_is_shared_in_proportion_and_stratified() -> None:
    records = make_records(1000)
    splits = limit_splits({"train": records[:800], "val": records[800:], "test": records[:100]}, limit=50, seed=0)
    assert {name: len(kept) for name, kept in splits.items()} == {"train": 40, "val": 10, "test": 5}
    subset = draw_subset(records, size=10, seed=0)
    assert [int(10 * (record.label or 0)) for record in subset] == list(range(10))
    assert draw_subset(records, size=5000, seed=0) == records


def test_a_subset_depends_on_the_seed_and_not_on_the_order_of_rows() -> None:
    records = make_records(60)
    kept = {seed: draw_subset(records, size=6, seed=seed) for seed in range(4)}
    assert len({tuple(ids(subset)) for subset in kept.values()}) == 4
    assert set(ids(draw_subset(records[::-1], size=6, seed=1))) == set(ids(kept[1]))
    assert kept[1] == tuple(record for record in records if record in kept[1])  # in their order
    assert limit_splits({"train": records, "val": ()}, limit=6, seed=1)["train"] == kept[1]
    assert limit_splits({"train": records, "val": ()}, limit=6, seed=2)["train"] == kept[2]


def test_one_of_each_block_is_drawn_by_the_digest_of_seed_and_id() -> None:
    records = make_records(6)
    digests = {record.id: hashlib.sha256(f"3/{record.id}".encode()).hexdigest() for record in records}
    by_hand = [min(ids(records[at : at + 2]), key=digests.__getitem__) for at in (0, 2, 4)]
    assert ids(draw_subset(records, size=3, seed=3)) == by_hand


@pytest.mark.parametrize(
    ("sizes", "limit", "expected"),
    [
        ((80, 20, 10), 50, (40, 10, 5)),
        ((80, 20, 10), 100, (80, 20, 10)),
        ((80, 20, 10), 1000, (80, 20, 10)),
        ((80, 20, 10), 1, (1, 1, 1)),
        ((0, 0, 10), 1, (0, 0, 10)),
        ((1, 0, 10), 1, (1, 0, 10)),
        ((2, 0, 10), 1, (1, 0, 5)),
    ],
)
def test_all_splits_shrink_in_the_proportion_of_labelled_records(sizes, limit, expected) -> None:
    splits = {name: make_records(size) for name, size in zip(("train", "val", "test"), sizes, strict=True)}
    limited = limit_splits(splits, limit=limit, seed=0)
    assert tuple(len(limited[name]) for name in splits) == expected


def test_missing_splits_count_as_empty() -> None:
    assert {name: len(kept) for name, kept in limit_splits({"test": make_records(9)}, limit=3, seed=0).items()} == {
        "test": 9
    }
    assert len(limit_splits({"train": make_records(9)}, limit=3, seed=0)["train"]) == 3


def test_records_without_labels_count_as_labels_of_zero() -> None:
    labels = (-2.0, -0.5, None, None, 0.5, 2.0)
    records = tuple(replace(record, label=label) for record, label in zip(make_records(6), labels, strict=True))
    for seed in range(8):
        assert sum(record.label is None for record in draw_subset(records, size=3, seed=seed)) == 1


def test_groups_are_placed_by_their_mean_label() -> None:
    # Four groups of means 0, 1, 2, 3 in two blocks: one of {0, 1} and one of {2, 3} lie in each fold.
    records = tuple(
        Record(id=f"{group}{at}", paths=(Path(f"{group}{at}"),), label=group + shift, group=str(group))
        for group in range(4)
        for at, shift in enumerate((-5.0, 5.0))
    )
    for seed in range(6):
        _, held = split_folds(records, num_folds=2, fold=0, seed=seed)
        groups = sorted(int(record.group or -1) for record in held)
        assert len(groups) == 4
        assert groups[0] in (0, 1)
        assert groups[-1] in (2, 3)


def test_folds_of_unequal_groups_are_balanced_by_giving_the_largest_to_the_lightest() -> None:
    # Two blocks of two groups: sizes (6, 1) and (5, 2). Largest to lightest: 6 + 2 and 1 + 5.
    sizes = {"a": 6, "b": 1, "c": 5, "d": 2}
    records = tuple(
        Record(id=f"{name}{at}", paths=(Path(f"{name}{at}"),), label=float(place), group=name)
        for place, (name, size) in enumerate(sizes.items())
        for at in range(size)
    )
    for seed in range(6):
        held = [{record.group for record in split_folds(records, num_folds=2, fold=f, seed=seed)[1]} for f in (0, 1)]
        assert sorted(map(sorted, held)) == [["a", "d"], ["b", "c"]]


def test_folds_differ_with_the_seed_but_not_with_the_order_of_rows() -> None:
    records = make_records(50)
    held = {seed: set(ids(split_folds(records, num_folds=5, fold=2, seed=seed)[1])) for seed in range(3)}
    assert len({frozenset(fold) for fold in held.values()}) == 3
    assert set(ids(split_folds(records[::-1], num_folds=5, fold=2, seed=1)[1])) == held[1]
    assert len(split_folds(make_records(5), num_folds=5, fold=4, seed=0)[1]) == 1


def test_the_smallest_group_is_held_out_where_every_group_is_too_large() -> None:
    sizes = {"a": 30, "b": 20, "c": 40}
    records = tuple(
        Record(id=f"{name}{at}", paths=(Path(f"{name}{at}"),), label=0.5, group=name)
        for name, size in sizes.items()
        for at in range(size)
    )
    rest, held = hold_out(records, fraction=0.01, seed=0)
    assert {record.group for record in held} == {"b"}
    assert len(rest) == 70


def test_divisions_stay_what_they_were_in_earlier_versions() -> None:
    """Another division would compare runs on other items; whoever changes one on purpose changes these numbers."""
    plain, sizes = make_records(12), (9, 1, 4, 2, 7, 3, 5, 1, 6, 2)
    grouped = tuple(
        Record(id=f"{n}-{at}", paths=(Path(f"{n}-{at}"),), label=float(n * 7 % 10) + at / 10, group=f"u{n}")
        for n, size in enumerate(sizes)
        for at in range(size)
    )

    def groups(records: tuple[Record, ...]) -> list[int]:
        return sorted({int((record.group or "")[1:]) for record in records})

    assert ids(split_folds(plain, num_folds=4, fold=1, seed=5)[1]) == ["v0", "v7", "v10"]
    assert ids(hold_out(plain, fraction=0.25, seed=5)[1]) == ["v0", "v4", "v11"]
    assert ids(hold_out(make_records(20), fraction=0.01, seed=5)[1]) == ["v11"]
    folds = [groups(split_folds(grouped, num_folds=3, fold=fold, seed=1)[1]) for fold in range(3)]
    assert folds == [[2, 3, 4], [0, 1, 7, 9], [5, 6, 8]]
    held = {fraction: groups(hold_out(grouped, fraction=fraction, seed=1)[1]) for fraction in (0.1, 0.35, 0.6, 0.8)}
    assert held == {0.1: [2], 0.35: [2, 3, 7, 8], 0.6: [0, 2, 4, 8], 0.8: [0, 2, 4, 5, 6, 8]}


def test_a_group_and_an_id_of_the_same_name_are_two_things() -> None:
    a, b, c = make_records(3)
    records = (replace(a, group="v1"), b, replace(c, group="v1"))
    for seed in range(8):
        _, held = hold_out(records, fraction=0.5, seed=seed)
        assert sorted(ids(held)) in (["v0", "v2"], ["v1"])


def test_groups_join_in_chains_and_keep_their_other_facts() -> None:
    records = tuple(replace(record, group=group) for record, group in zip(make_records(5), "pqrst", strict=True))
    # 0 and 1 share a file, 1's creator has another file with 2, and so on: one chain; 4 stands alone.
    chain = (*records, *(replace(records[at], id=f"w{at}", paths=(Path(f"w{at}"),)) for at in (1, 2)))
    contents = {records[0].paths[0]: "x", records[1].paths[0]: "x", chain[5].paths[0]: "y", records[2].paths[0]: "y"}
    contents |= {chain[6].paths[0]: "z", records[3].paths[0]: "z"}
    joined = join_groups(chain, contents)
    assert len({record.group for record in (*joined[:4], *joined[5:])}) == 1
    assert joined[4] == records[4]
    assert [replace(record, group=None) for record in joined] == [replace(record, group=None) for record in chain]
    alone = replace(records[0], group=None)
    assert join_groups((alone,), {alone.paths[0]: "x"})[0].group == "content:x"
    assert join_groups((alone,), {}) == (alone,)


def test_pairs_that_share_nothing_stay_two_groups() -> None:
    records = tuple(replace(record, group=group) for record, group in zip(make_records(4), "pqrs", strict=True))
    contents = dict(zip((record.paths[0] for record in records), ("x", "x", "y", "y"), strict=True))
    first, second, third, fourth = (record.group for record in join_groups(records, contents))
    assert first == second != third == fourth


def test_groups_join_over_creators_and_contents() -> None:
    a, b, c, d = (replace(record, group=group) for record, group in zip(make_records(4), "xxyz", strict=True))
    joined = join_groups((a, b, c, d), {b.paths[0]: "hash", c.paths[0]: "hash"})
    assert joined[0].group == joined[1].group == joined[2].group
    assert joined[3].group == "z"
    assert join_groups(make_records(2), {}) == make_records(2)


def test_leaks_are_found_by_id_and_by_content() -> None:
    a, b, c = make_records(3)
    twin = replace(c, id="twin", paths=(Path("twin.mp4"),))
    leaks = find_leaks({"val": (a, c), "train": (a, b, twin)}, {c.paths[0]: "hash", twin.paths[0]: "hash"})
    assert [(split, record.id, reason) for split, record, reason in leaks] == [
        ("train", "v0", "the Id is in the val table too"),
        ("train", "twin", "its file is the same as that of v2 in the val table"),
    ]


def test_leaks_are_found_over_three_splits_and_without_digests_by_the_path() -> None:
    a, b, c, d = make_records(4)
    same_path, same_id = replace(b, id="other"), replace(a, paths=(Path("elsewhere.mp4"),))
    splits = {"test": (a, b), "val": (c,), "train": (d, same_path, same_id, replace(c, paths=(Path("third.mp4"),)))}
    assert [(split, record.id, reason) for split, record, reason in find_leaks(splits, {})] == [
        ("train", "other", "its file is the same as that of v1 in the test table"),
        ("train", "v0", "the Id is in the test table too"),
        ("train", "v2", "the Id is in the val table too"),
    ]
    assert list(find_leaks({"test": (a, same_path), "train": (b,)}, {a.paths[0]: "h"})) == [
        ("train", b, "its file is the same as that of other in the test table")
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


def test_a_written_name_of_a_group_tells_no_place() -> None:
    records = tuple(
        replace(record, group=group)
        for record, group in zip(
            make_records(5), ["content:/home/x.mp4", "Ann", None, "content:/home/x.mp4", "Ann"], strict=True
        )
    )
    copies = f"copies of {records[0].id}"
    assert group_names(records) == [copies, "Ann", None, copies, "Ann"]
