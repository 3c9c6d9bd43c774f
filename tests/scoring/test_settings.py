"""What is known of a scorer before it is loaded."""

import json
from pathlib import Path

from evqa.runs.merging import export_run
from evqa.scoring.settings import further_texts, reads_images, reads_sound_alone


def test_settings_of_a_run_and_of_its_export_are_known(train, tmp_path):
    run = train("modal=a", "prompt.question='<media>{Download_link}?'", f"run.root={tmp_path}", "trainer.epochs=1").path
    export_run(run, out=tmp_path / "export")
    for place in (run, str(run), tmp_path / "export"):
        assert reads_sound_alone(place, None, [])
        assert not reads_images(place, [])
        assert further_texts(place, []) == ("Download_link",)
    assert not reads_sound_alone(run, "v", [])


def test_settings_of_published_scorers_are_known(tmp_path):
    assert [reads_images(name, []) for name in ("vqa2_image", "vqa2_ugc", "lmm_evqa")] == [True, True, False]
    assert further_texts("vqa2_streaming", []) == ()
    own = ["prompt=vqa2_streaming", "frames.exact=true", "model.checkpoint=/not there"]
    assert further_texts("vqa2_streaming", own) == ("stalling",)
    assert further_texts("vqa2_streaming", ["prompt=nothing"]) == ()
    assert not reads_images(Path("vqa2_image"), [])  # a folder of this name, which is not there
    for kind, known in (("llava_qwen", True), ("videollama2_qwen2", False), ("bert", False), ([], False)):
        (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
        assert reads_images(tmp_path, []) is known
