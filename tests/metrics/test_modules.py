"""The metrics as torchmetrics modules: equal to the functions, over batches and over processes that share items."""

import numpy as np
import pytest
import torch
import torch.multiprocessing

from evqa.metrics import METRICS
from evqa.metrics.modules import PlccMetric, SroccMetric, all_metrics

GENERATOR = np.random.default_rng(0)
LABELS = GENERATOR.normal(size=23)
SCORES = LABELS + GENERATOR.normal(size=23)
IDS = [f"clip {place}" for place in range(23)]
EXPECTED = {name: float(metric(SCORES, LABELS)) for name, metric in METRICS.items()} | {"n": 23.0}


def update(metrics, places):
    metrics.update(torch.tensor(SCORES)[places], LABELS[places].tolist(), [IDS[place] for place in places])


def test_batches_give_what_the_functions_give_and_an_id_counts_once():
    metrics = all_metrics()
    for places in (range(0, 9), range(9, 23), range(4, 12)):
        update(metrics, list(places))
    assert {name: float(value) for name, value in metrics.compute().items()} == pytest.approx(EXPECTED, abs=1e-12)
    metrics.reset()
    update(metrics, list(range(5)))
    assert metrics.compute()["n"] == 5


def test_without_ids_every_item_counts():
    metric = SroccMetric()
    metric.update(SCORES, LABELS)
    metric.update(SCORES[:3], LABELS[:3])
    doubled = METRICS["srocc"]([*SCORES, *SCORES[:3]], [*LABELS, *LABELS[:3]])
    assert float(metric.compute()) == pytest.approx(float(doubled), abs=1e-12)
    with pytest.raises(ValueError, match="2 scores, 1 labels, 2 ids"):
        metric.update([0.1, 0.2], [0.3])


def test_what_has_no_value_is_nan_with_the_reason():
    metric = PlccMetric()
    metric.update([0.5, 0.5, 0.5], [0.1, 0.2, 0.3], ["a", "b", "c"])
    assert metric.compute().isnan()
    assert metric.reason == "all 3 scores are equal (0.5)"
    metric.reset()
    metric.update([], [], [])
    assert (bool(metric.compute().isnan()), metric.reason) == (True, "needs at least 3 items, got 0")


def _process(rank, world, place, shares, results):
    torch.distributed.init_process_group("gloo", init_method=f"file://{place}", rank=rank, world_size=world)
    metrics = all_metrics()
    for places in shares[rank]:
        update(metrics, places)
    results[rank] = {name: float(value) for name, value in metrics.compute().items()}
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("world", [2, 3])
def test_processes_that_share_some_items_all_get_the_whole(tmp_path, world):
    """As a sampler that repeats items to fill up, with uneven shares; the third process has none."""
    shares = [[list(range(0, 7)), list(range(7, 16))], [list(range(14, 23)), [0]], []][:world]
    with torch.multiprocessing.Manager() as manager:
        results = manager.dict()
        torch.multiprocessing.spawn(_process, (world, tmp_path / "store", shares, results), nprocs=world)
        found = dict(results)
    single = all_metrics()
    update(single, list(range(23)))
    whole = {name: float(value) for name, value in single.compute().items()}
    assert whole == pytest.approx(EXPECTED, abs=1e-12)
    assert found == dict.fromkeys(range(world), whole)  # to the last bit
