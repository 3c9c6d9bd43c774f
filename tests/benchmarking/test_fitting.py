"""How many layers are computed again so that a step fits."""

import pytest

from evqa.benchmarking.fitting import fewest_recomputed, room_of


def peak_of(*, num_layers, each=3.0, floor=20.0, asked):
    """Bytes of a step whose layers keep `each`, and of which nothing saves what lies below the floor."""

    def peak(count):
        asked.append(count)
        return max(floor, 10.0 + each * (num_layers - count))

    return peak


@pytest.mark.parametrize(("room", "count"), [(94.0, 0), (93.9, 1), (50.0, 15), (20.0, 25), (19.0, 28)])
def test_the_fewest_layers_that_fit_are_computed_again_and_all_where_nothing_fits(room, count):
    asked = []
    fitting = fewest_recomputed(peak_of(num_layers=28, asked=asked), num_layers=28, room=room)
    assert fitting.count == count
    assert fitting.peak == peak_of(num_layers=28, asked=[])(count)
    assert len(asked) <= 4
    fits = "which is still too much" if room < 20 else "the fewest that fit"
    assert f"{count} of 28 layers" in str(fitting)
    assert fits in str(fitting)


def test_layers_that_save_nothing_are_not_asked_for_ever():
    fitting = fewest_recomputed(peak_of(num_layers=4, each=0.0, asked=[]), num_layers=4, room=15.0)
    assert fitting.count == 4
    assert fewest_recomputed(lambda count: 30.0, num_layers=0, room=15.0).count == 0


def test_a_tenth_of_a_card_stays_free():
    assert room_of(80e9) == pytest.approx(72e9)
