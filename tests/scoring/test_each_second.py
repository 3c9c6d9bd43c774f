"""`evqa ask --each-second`: every second of a video as if it were a file, by every model that answers in words."""

import json
from fractions import Fraction

import av
import numpy as np
import pytest
import torch

import evqa
from evqa import ask
from evqa.errors import ConfigError
from evqa.prompts.decoding import Decoding
from evqa.scoring.annotation import AnnotatedSecond, AnnotatedVideo, Annotator
from evqa.scoring.assembly import assemble
from evqa.scoring.each_second import _table, prompt_and_others
from evqa.training.build import build_model, build_module, build_pipeline
from evqa.training.plan import read_plan
from evqa.types import MEDIA, Record, Turn
from tests.models.toys import MODELS, configure
from tests.models.vqa2 import reference

SHORT = Decoding(max_new_tokens=5)
EXACTLY = ["model.dtype=float32", "trainer.precision=32", "trainer.accelerator=cpu"]
OPTION = "prompt=vqa2_assistant_seconds"
FPS = 10


def write_lossless(path, pictures):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=FPS)
        stream.width, stream.height, stream.pix_fmt, stream.time_base = 64, 48, "yuv444p", Fraction(1, FPS)
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A tiny assistant in the published layout; a video whose seconds 0 and 1 are alike; its seconds as files."""
    home = tmp_path_factory.mktemp("seconds")
    reference.write_random(home / "weights")
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (2, FPS, 48, 64, 3), dtype=np.uint8)
    parts = [noise[0] // 4, noise[0] // 4, 128 + noise[1] // 2, noise[0, :3]]  # three frames: no motion
    write_lossless(home / "video.mkv", np.concatenate(parts))
    for number, part in enumerate(parts):
        write_lossless(home / f"second{number}.mkv", part)
    return home


@pytest.fixture(scope="module")
def scorer(home):
    lines = [f"model.checkpoint='{home}/weights'", *EXACTLY, OPTION]
    return evqa.load("vqa2_assistant", overrides=lines, batch_size=8)


@pytest.fixture(scope="module")
def prompt():
    return prompt_and_others([])[0]


def annotated(scorer, prompt, path):
    return list(Annotator(scorer, prompt, decoding=SHORT).annotate(path))


def test_an_answer_is_that_of_the_second_as_a_file_of_its_own(home, scorer, prompt):
    found = annotated(scorer, prompt, home / "video.mkv")
    assert [second.number for second in found] == [0, 1, 2, 3]
    assert {second.of for second in found} == {4}
    assert found[0].answers == found[1].answers != found[2].answers
    questions = prompt.dimensions.questions.values()
    for number in (0, 2):
        path = home / f"second{number}.mkv"
        records = [Record(id=text, paths=(path,), turns=(Turn(role="user", text=text),)) for text in questions]
        assert found[number].answers == tuple(answer.text for answer in scorer.ask(records, decoding=SHORT))
    assert "too few frames come up in this second for its motion" in found[3].reason
    assert found[3].answers == found[3].levels == ()


@torch.no_grad()
def test_a_level_is_the_softmax_over_the_level_words_behind_the_prefix(home, scorer, prompt):
    (found,) = annotated(scorer, prompt, home / "second2.mkv")
    model, clip = scorer.module.model, scorer.pipeline.read(home / "second2.mkv")
    for at, (name, question) in enumerate(prompt.dimensions.questions.items()):
        text = prompt.framing.video.replace("<media>", MEDIA).format(num_motion_frames=8, question=question)
        begin = Turn(role="assistant", text=f"In terms of {name}, the quality of the video is")
        inputs = model.preparer.collate([model.preparer.prepare((Turn(role="user", text=text), begin), [clip])])
        output = model(inputs)
        words = [model.chat.word_id(f" {word}") for word in ("high", "good", "fair", "poor", "low")]
        odds = np.exp(output.logits(output.answer_BD())[0, words].double().numpy())
        assert found.levels[at] == pytest.approx(odds / odds.sum() @ [1, 0.75, 0.5, 0.25, 0], abs=1e-5)
    assert len({f"{level:.6f}" for level in found.levels}) > 4


def built(config):
    plan = read_plan(config)
    parts = build_model(plan)
    return assemble(plan, build_module(plan, parts), build_pipeline(plan, parts))


@pytest.mark.parametrize("name", [name for name, (_, modalities) in MODELS.items() if "v" in modalities])
def test_every_model_that_answers_annotates_key_frames_or_motion(home, prompt, twin, name):
    scorer = built(configure(name, "v", "levels", arguments=twin(name)))
    found = annotated(scorer, prompt, home / "video.mkv")
    assert [bool(second.reason) for second in found] == [False] * 3 + [scorer.pipeline.preparer.clip.motion is not None]
    assert found[0].levels == pytest.approx(found[1].levels, abs=1e-6)
    assert found[0].levels != pytest.approx(found[2].levels, abs=1e-6)
    (alone,) = annotated(scorer, prompt, home / "second2.mkv")
    assert (alone.answers, alone.levels) == (found[2].answers, pytest.approx(found[2].levels, abs=1e-6))


def test_a_model_that_drops_a_single_frame_says_so(home, prompt):
    """VideoLLaMA2 takes frames in pairs; the original drops an odd one."""
    scorer = built(
        configure("videollama2", "v", "levels", arguments={"exact": True, "checkpoint": None, "size": "tiny"})
    )
    (second,) = annotated(scorer, prompt, home / "second0.mkv")
    assert second.reason.startswith("it has a single frame, which the connector drops (model.exact=true")


def test_questions_of_a_second_share_its_frames(home, scorer, prompt, monkeypatch):
    """Once for the answers, once for the levels; never once a question."""
    model, encoded = scorer.module.model, []
    encode = model.encode_motion
    monkeypatch.setattr(model, "encode_motion", lambda frames: encoded.append(frames) or encode(frames))
    annotated(scorer, prompt, home / "second0.mkv")
    assert len(encoded) == 2


def command(home, *arguments):
    lines = [f"model.checkpoint='{home}/weights'", *EXACTLY]
    more = [part for line in lines for part in ("--override", line)]
    given = ["--scorer", "vqa2_assistant", "--max-new-tokens", "5", "--each-second", *more, *map(str, arguments)]
    try:
        ask.main(given)
    except SystemExit as error:
        return error.code
    return 0


def test_a_pipe_gets_a_line_an_answer_and_json_says_the_same(home, tmp_path, capsys):
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    files = (home / "video.mkv", tmp_path)
    assert command(home, *files, "--pictures", tmp_path / "pictures") == 2
    lines, errors = capsys.readouterr()
    assert "1 of 2 could not be asked about:\nbad: is not a video" in errors
    assert command(home, *files, "--json") == 2
    good, bad = map(json.loads, capsys.readouterr().out.splitlines())
    assert (good["id"], good["seconds"], good["levels"]["noise"][3]) == (str(home / "video.mkv"), [0, 1, 2, 3], None)
    assert set(bad) == {"id", "error"}
    rows = [line.split("\t") for line in lines.splitlines()]
    told = {(int(row[1]), row[2]): (float(row[3]), row[4]) for row in rows if row[2]}
    said = {
        (number, name): (good["levels"][name][number], "".join(map(_shown, good["answers"][name][number])))
        for name in good["dimensions"]
        for number in good["seconds"][:3]
    }
    assert told == said
    assert rows[-1][:2] == [good["id"], "3"]
    assert rows[-1][4] == f"not asked: {good['not_asked']['3']}"
    assert (tmp_path / "pictures/video.png").read_bytes().startswith(b"\x89PNG")


def _shown(letter):
    return letter if letter.isprintable() else f"\\x{ord(letter):02x}"


def test_what_cannot_be_asked_is_a_sentence_before_anything_is_loaded(home, capsys):
    cases = {
        (): "name a video, or a folder of videos, to ask about",
        ("none.mp4",): "none.mp4: no such file or folder",
        (home / "video.mkv", "--override", "prompt=quality"): "this prompt asks nothing of every second",
        (home / "video.mkv", "--pictures", home / "video.mkv"): "video.png cannot be written",
    }
    for arguments, sentence in cases.items():
        assert command(home, *arguments) == 2
        assert sentence in capsys.readouterr().err
    with pytest.raises(SystemExit):
        ask.main(["a.mp4", "--scorer", "x", "--question", "y", "--pictures", "z"])
    assert "--pictures z: pictures are drawn of seconds; give --each-second" in capsys.readouterr().err


def test_a_run_can_be_asked_in_other_words(train, videos, tmp_path):
    """A run keeps its prompt; what is asked of a second is chosen beside it. Its sound is left out."""
    run = train("head=levels", f"run.root={tmp_path}").path
    own = ["+prompt.dimensions.questions.mood='Gloomy?'", "~prompt.dimensions.questions.light", "data.workers=0"]
    prompt, others = prompt_and_others(own)
    annotator = Annotator(evqa.load(run, overrides=others), prompt, decoding=SHORT)
    assert annotator.leaves_out_sound
    assert annotator.dimensions[-1] == "mood"
    assert "light" not in annotator.dimensions
    found = list(annotator.annotate(next(videos.iterdir())))
    assert len(found[0].levels) == len(found[0].answers) == 8
    with pytest.raises(ConfigError, match=r"its head \(RegressionHead\) reads no words"):
        Annotator(evqa.load(train(f"run.root={tmp_path}").path), prompt, decoding=SHORT)


def test_a_table_fits_80_columns_and_tells_the_lowest(prompt):
    dimensions = tuple(prompt.dimensions.questions)
    seconds = [
        AnnotatedSecond(
            number=at, of=601, answers=("It is rather good. " * 9,) * 8, levels=(0.9 - 0.1 * (at == 7),) * 8
        )
        for at in range(600)
    ]
    seconds.append(AnnotatedSecond(number=600, of=601, reason="too few frames"))
    lines = _table(AnnotatedVideo(id="a.mp4", dimensions=dimensions, seconds=seconds), width=80).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[1].split() == ["second", *map(str, range(10))]
    assert lines[2].split()[1:] == [*["0.90"] * 7, "0.80", *["0.90"] * 2]
    assert sum(line.startswith("motion blur ") for line in lines) == 61 + 1
    (told,) = (
        line for line in lines if line.startswith("noise                  lowest 0.80 at 7 s: It is rather good.")
    )
    assert told.endswith("…")
    assert "not asked about: second 600: too few frames" in lines
