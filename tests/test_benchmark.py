"""The benchmark measures what it says it measures."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from rich.console import Console

from evqa import benchmark
from evqa.benchmarking.clips import choose_clips
from evqa.benchmarking.data import PUBLISHED, measure_data
from evqa.benchmarking.measure import Spread, StageClock, cpu_seconds, interleaved_rounds
from evqa.benchmarking.reference import first_n_seconds, read_reference
from evqa.benchmarking.stages import read_in_stages
from evqa.benchmarking.workers import measure_workers
from evqa.errors import RunError
from evqa.media.clip import read_clip
from evqa.media.portrait import write_portrait_clip

pytest.importorskip("decord")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "portrait.mp4"
    write_portrait_clip(path, seconds=2.2, seed=0)
    return path


def test_the_made_clips_are_like_snapugcs(clip: Path) -> None:
    import av

    with av.open(str(clip)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec.name, video.width, video.height, video.average_rate) == ("h264", 480, 854, Fraction(30))
        assert (audio.codec.name, audio.rate, audio.channels) == ("aac", 44_100, 1)
        packets = [packet for packet in container.demux(video) if packet.size]
    assert sum(packet.is_keyframe for packet in packets) == 1
    assert 0.2e6 < 8 * clip.stat().st_size / 2.2 < 2e6


def test_the_stages_read_what_read_clip_reads(clip: Path) -> None:
    for spec in (PUBLISHED, replace(PUBLISHED, audio_as="waveform"), replace(PUBLISHED, frames=None)):
        clock = StageClock()
        staged, whole = read_in_stages(clip, spec, clock), read_clip(clip, spec)
        assert staged.frames_FHWC is whole.frames_FHWC is None or torch.equal(staged.frames_FHWC, whole.frames_FHWC)
        assert torch.equal(staged.sound, whole.fbank_RM if spec.audio_as == "fbank" else whole.waveform_S)
        assert all(ms >= 0 for ms in clock.cpu_ms.values())
        assert ("decode" in clock.cpu_ms) == (spec.frames is not None)


def test_the_reference_takes_the_published_frames_and_shapes(clip: Path) -> None:
    sample = read_reference(clip, StageClock())
    assert sample.numbers == first_n_seconds(66, 30.0) == [0, 9, 18, 27, 37, 46, 55, 65]
    assert first_n_seconds(300, 29.97) == [0, 29, 59, 89, 119, 149, 179, 209]
    assert sample.pixels_FCHW.shape == (8, 3, 384, 384)
    assert sample.pixels_FCHW.dtype == torch.float32
    assert sample.fbank_RM.shape == (2998, 128)
    assert sample.fbank_RM.dtype == torch.bfloat16


def test_cpu_time_counts_this_process_and_its_children_but_no_sleep() -> None:
    import subprocess
    import sys

    before = cpu_seconds()
    time.sleep(0.2)
    assert cpu_seconds() - before < 0.1
    subprocess.run([sys.executable, "-c", "sum(range(10_000_000))"], check=True)
    assert cpu_seconds() - before > 0.1


def test_every_variant_reads_every_clip_in_every_round_after_a_warm_up() -> None:
    read: list[tuple[str, str]] = []
    variants = {name: lambda path, _, name=name: read.append((name, path.name)) for name in ("slow", "fast")}
    rounds = list(interleaved_rounds(variants, [Path("a"), Path("b")], rounds=2, passes={"fast": 3}))
    assert len(rounds) == 2
    assert read == 3 * [("slow", "a"), ("slow", "b"), *3 * [("fast", "a"), ("fast", "b")]]


def test_two_sleeping_threads_are_twice_as_fast_and_two_busy_ones_are_not() -> None:
    def speedup(work: object) -> float:
        one, two = (measure_workers(work, [Path()], kind="threads", workers=n, passes=4) for n in (1, 2))
        return two.free / one.free

    # The best of three: beside other tests, one measurement says little.
    assert max(speedup(lambda _: time.sleep(0.02)) for _ in range(3)) > 1.5
    assert min(speedup(lambda _: sum(range(400_000))) for _ in range(3)) < 1.6  # a lock is not waiting for a core


def test_numbers_are_written_with_their_spread() -> None:
    assert Spread.of([3.0, 1234.5, 2.0]).text() == "3.00 (2.00-1,234)"
    assert Spread.of([0.01234]).text() == "0.0123"


def test_data_writes_tables_json_and_a_plot(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evqa.benchmarking.data.CACHED_PASSES", 2)
    files = [f"--json={tmp_path / 'data.json'}", f"--plot={tmp_path / 'data.png'}"]
    benchmark.main(["data", f"--videos={clip.parent}", "--rounds=1", "--workers=1", *files])
    printed = " ".join(capsys.readouterr().out.split())
    assert "Frame numbers identical to the reference's: 1 of 1 clips." in printed
    report = json.loads((tmp_path / "data.json").read_text())
    rows = {row["name"]: row for row in report["rows"]}
    assert list(rows) == [
        "reference", "uncached", "uncached in stages", "uncached, exact resize", "cached raw", "cached jpeg"
    ]  # fmt: skip
    assert all(row["ratio"]["median"] > 1 for row in rows.values() if row["name"] != "reference")
    assert rows["cached raw"]["bytes_per_clip"] > 8 * 384 * 384 * 3 > rows["cached jpeg"]["bytes_per_clip"]
    assert report["identity"]["other_numbers"] == []
    assert report["identity"]["pixels_exact"]["largest"] == 0
    assert report["identity"]["pixels"]["largest"] <= 2
    assert (tmp_path / "data.png").read_bytes()[:4] == b"\x89PNG"
    assert torch.get_num_threads() == 1 or torch.set_num_threads(1) is None


def test_without_a_reference_there_is_no_ratio(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evqa.benchmarking.data.CACHED_PASSES", 1)
    report = measure_data([clip], rounds=1, workers=1, reference=False)
    assert [row.ratio for row in report.rows] == [None] * 5
    assert report.identity is None


def test_files_that_cannot_be_read_are_named(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"broken")
    (tmp_path / "good.mp4").write_bytes(clip.read_bytes())
    console = Console(width=300)
    assert choose_clips(str(tmp_path), PUBLISHED, console, at_most=9) == [tmp_path / "good.mp4"]
    assert "broken.mp4" in capsys.readouterr().out
    with pytest.raises(RunError, match=r"--videos .*none\*: none of 0 files can be read"):
        choose_clips(str(tmp_path / "none*"), PUBLISHED, console, at_most=9)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["data", "--rounds=0"], "--rounds is 0; it must be at least 1."),
        (["train", "--videos=x"], "--videos belongs to 'data'"),
        (["data", "--json=/no/where/x.json"], "/no/where/x.json: there is no folder /no/where."),
        (["train", "modle=tiny"], "Did you mean 'model'?"),
    ],
)
def test_mistakes_end_with_a_sentence(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        benchmark.main(arguments)
    assert caught.value.code == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("mode", ["train", "score"])
def test_steps_are_measured_with_their_wait_and_work(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = ["data.num_train=16", "data.num_val=16", "data.batch_size=4", "data.workers=1"]
    benchmark.main([mode, *data, "--steps=2", "--warmup=1", "--json=steps.json", "--plot=steps.png"])
    report = json.loads(Path("steps.json").read_text())
    assert report["what"] == mode
    (row,) = report["rows"]
    times = row["times"]
    assert (times["num_steps"], times["batch_size"], times["reserved_bytes"]) == (2, 4, None)
    assert 0 <= times["wait_share"] < 1
    assert times["samples_per_second"] * times["step_ms"]["median"] / 1000 == pytest.approx(4, rel=0.9)
    assert times["tokens_per_second"] > times["samples_per_second"]
    assert row["arithmetic"]["done"] == row["arithmetic"]["model"] > 1e6
    assert row["mfu"] is None
    assert "the peak of cpu is not known: no utilisation" in report["notes"]
    assert Path("steps.png").exists()


def test_scoring_with_a_motion_branch_shows_what_both_pathways_would_cost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    data = ["data.num_train=16", "data.num_val=16", "data.batch_size=4", "data.workers=1"]
    model = ["model=vqa2_tiny", "modal=v", "prompt=vqa2_ugc_current"]
    benchmark.main(["score", *model, *data, "--steps=1", "--warmup=1", "--json=steps.json"])
    motion = json.loads(Path("steps.json").read_text())["motion"]
    assert 0 < motion["num_frames"] <= motion["clip_frames"]
    assert motion["original"]["flops"] > 2 * motion["ours"]["flops"] > 0
    assert motion["ratio"]["low"] <= motion["ratio"]["median"] <= motion["ratio"]["high"]
    printed = " ".join(capsys.readouterr().out.split())
    assert f"its first {motion['num_frames']} of {motion['clip_frames']} frames" in printed
    assert "both pathways, as the original" in printed
