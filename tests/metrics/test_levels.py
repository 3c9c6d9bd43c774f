import pytest

from evqa.metrics.levels import is_on_edge, level_of


@pytest.mark.parametrize(
    ("label", "level"),
    [(1.0, 0), (0.8, 0), (0.8 - 1e-12, 0), (0.7999, 1), (0.6, 1), (0.42, 2), (0.4, 2), (0.288, 3), (0.2, 3), (0.1, 4),
     (0.0, 4), (-0.3, 4), (1.7, 0), ((4.2 - 1) / 4, 0), (3 * 0.2, 1)],
)  # fmt: skip
def test_a_label_on_the_edge_of_two_levels_is_of_the_better_one(label, level):
    assert level_of(label, num_levels=5) == level


def test_levels_of_any_number_have_equal_bins():
    assert [level_of(label, num_levels=2) for label in (0.49, 0.5)] == [1, 0]
    assert [level_of(place / 30, num_levels=3) for place in range(0, 31, 5)] == [2, 2, 1, 1, 0, 0, 0]


def test_only_what_lies_between_two_levels_is_on_an_edge():
    on_edge = [0.2, 0.8, 0.6 - 1e-12, (4.2 - 1) / 4, 3 * 0.2]
    assert all(is_on_edge(label, num_levels=5) for label in on_edge)
    assert not any(is_on_edge(label, num_levels=5) for label in (0.0, 1.0, -0.2, 1.2, 0.2001, 0.5))
