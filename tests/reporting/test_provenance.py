"""Where a report says that its numbers come from."""

import json

import pytest

from evqa.report import main
from evqa.reporting.document import to_html, to_markdown
from evqa.reporting.provenance import Provenance, command_line, origin_of, provenance
from evqa.reporting.provenance_blocks import provenance_blocks
from evqa.reporting.runs import read_run

OF = {"split": "val", "metric": "challenge"}
FACTS = {"packages": {"evqa": "0.3.0"}, "commit": "4b9bc9840436b5a7+changes", "cpu": "EPYC", "num_cpus": 8, "gpus": []}
BEGAN = {"began": "2026-11-26T08:02:11+00:00", "host": "node1", "device": "cpu", "num_processes": 1}
ENDED = {"ended": "2026-11-26T09:02:11+00:00", "seconds": 3600.0, "cpu_seconds": 7200.0, "peak_bytes": 2_500_000_000}


def record(folder, *sessions, facts=FACTS, **settings):
    """Let a run have recorded this of itself."""
    (folder / "environment.json").write_text(json.dumps(facts))
    (folder / "sessions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in sessions))
    about = folder / "predictions" / "val.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"checkpoint_sha256": "52d89646d2ed7ca8dc"}))
    return read_run(folder, split="val")


def shown(*runs):
    """The sentences and each run's facts, those in common and its own."""
    found = provenance(runs, command=["runs", "--out", "x y"], **OF)
    said, shared, *own = provenance_blocks(found)[1:]
    rows = [dict(zip(own[0].columns, row, strict=True)) for row in own[0].rows] if own else [{}]
    return said.items, [dict(shared.rows) | row for row in rows]


@pytest.fixture
def make(tmp_path, make_run):
    return lambda *sessions, name="a", config=None, **given: record(
        make_run(tmp_path, name=name, config={"trainer": {"precision": "bf16", "devices": 2}, **(config or {})}),
        *sessions,
        **given,
    )


def test_a_run_says_when_where_how_and_at_what_cost_it_was_made(make):
    said, (facts,) = shown(make(BEGAN, ENDED))
    assert facts == {
        "began": "2026-11-26 08:02 UTC",
        "ended": "2026-11-26 09:02 UTC",
        "took": "60 min",
        "GPU time": "none",
        "CPU time": "2 h 0 min",
        "peak memory": "2.5 GB",
        "items/s, training": "not recorded",
        "hardware": "EPYC, 8 cores",
        "host": "node1",
        "precision": "bf16",
        "checkpoint": "best.ckpt, epoch 4 of 4, SHA-256 52d89646d2ed",
        "evqa": "0.3.0, commit 4b9bc9840436 with changes",
        "command": "evqa train modal=av seed=0",
    }
    assert said[0].startswith("This report: 20")
    assert said[0].endswith("by: evqa report runs --out 'x y'")
    assert said[1] == "Training and scoring took 60 min, 0 GPU hours and 2 CPU hours in all."


def test_sessions_on_cards_count_for_each_card_and_a_killed_one_makes_a_time_a_lower_limit(make):
    on_card = BEGAN | {"device": "cuda", "num_processes": 2, "host": "node2"}
    facts = FACTS | {"gpus": ["H100"] * 8}
    run = make(BEGAN, on_card, ENDED | {"peak_gpu_bytes": 61e9}, facts=facts, name="b")
    said, (found,) = shown(run)
    assert found["took"] == "at least 60 min in 2 sessions, 1 of them without a recorded end"
    assert (found["hardware"], found["host"]) == ("2 x H100", "node1, node2")
    assert (found["GPU time"], found["peak memory"]) == ("2 h 0 min", "2.5 GB, 61 GB on the first card")
    assert said[1] == "Training and scoring took at least 60 min, 2 GPU hours and 2 CPU hours in all."
    said, found = shown(run, make(facts=facts, name="c", config={"trainer": {"accelerator": "cpu"}}))
    assert said[1].endswith("in all. Of 1 of 2 runs that is not recorded.")
    assert [one["took"] for one in found] == [found[0]["took"], "not recorded"]
    assert found[1]["hardware"] == "EPYC, 8 cores"


def test_an_older_run_and_a_damaged_one_are_not_recorded(tmp_path, make_run):
    folder = make_run(tmp_path)
    said, (facts,) = shown(read_run(folder, split="val"))
    assert said[1] == "What the run took is not recorded."
    assert {facts[name] for name in ("began", "took", "hardware", "host", "precision", "evqa")} == {"not recorded"}
    huge = 10**400
    odd = {"packages": ["evqa"], "commit": 3, "cpu": ["<b>"], "num_cpus": "many", "gpus": {"a": 1}}
    run = record(folder, {"began": 5, "host": None}, {"seconds": huge, "cpu_seconds": "1"}, 7, facts=odd)
    assert shown(run)[1][0] == facts | {"checkpoint": "best.ckpt, epoch 4 of 4, SHA-256 52d89646d2ed"}
    (folder / "environment.json").write_text("{")
    assert origin_of(read_run(folder, split="val"), **OF).evqa is None


def test_what_runs_recorded_is_text_on_the_page(make):
    run = make(BEGAN | {"host": "<i>|x"}, ENDED, facts=FACTS | {"cpu": "<script>"})
    blocks = provenance_blocks(provenance([run], command=["<u>"], **OF))
    page = to_html("t", blocks)
    assert "&lt;script&gt;" in page
    assert not any(tag in page for tag in ("<script", "<i>", "<u>"))
    assert "\\<i>\\|x" in to_markdown("t", blocks)


def test_a_command_can_be_typed_again_but_holds_no_password():
    words = ["modal=av", "model.max_tokens=4096", "logger.uri=https://me:pw@host/x", "logger.api_key=abc", "a b=$x"]
    assert command_line("evqa train", words) == (
        "evqa train modal=av model.max_tokens=4096 'logger.uri=https://***@host/x' 'logger.api_key=***' 'a b=$x'"
    )


def test_a_report_says_where_its_numbers_come_from(make, tmp_path):
    make(BEGAN, ENDED)
    given = [str(tmp_path), "--out", str(tmp_path / "report")]
    assert main(given) == 0
    for name in ("report.md", "report.html"):
        text = (tmp_path / "report" / name).read_text()
        assert "Where the numbers come from" in text
        assert "node1" in text
    found = json.loads((tmp_path / "report" / "report.json").read_text())["provenance"]
    assert set(found) == set(Provenance.__dataclass_fields__)
    assert found["command"] == command_line("evqa report", given)
    assert [one["seconds"] for one in found["runs"]] == [3600.0]
