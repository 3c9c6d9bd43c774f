"""Scoring one file in a real browser, and by the API."""

import re

import pytest
from PIL import Image

import evqa
from evqa.predict import main as predict

WAIT = 60_000


def choose(tab, path):
    tab.locator("input[type=file]:visible, input[type=file]").first.set_input_files(path)
    tab.locator(".evqa-preview").first.wait_for(timeout=WAIT)


def test_a_score_says_what_it_is_and_what_the_model_saw(visit, served, clips, finished):
    tab = visit(served)
    choose(tab, clips[0])
    tab.get_by_label("Title").first.fill("<img src=x onerror=alert(1)>")
    tab.get_by_role("button", name="Score", exact=True).click()
    card = tab.locator(".evqa-card")
    card.wait_for(timeout=WAIT)
    record = evqa.types.Record(id="x", paths=(clips[0],), texts={"title": "<img src=x onerror=alert(1)>"})
    (alone,) = evqa.load(finished.path).score([record])
    shown = float(card.locator("strong").first.inner_text())
    assert shown == pytest.approx(alone.value, abs=1e-3)
    text = card.inner_text()
    assert "ECR (engagement) runs from 0 to 1." in text
    assert "labels that the scorer was trained on" in text
    assert "shorter than the 8 s asked for" in text
    assert card.locator("figure").count() == 8
    assert "Waveform of the 2.0 s of sound" in card.locator(".evqa-wave").get_attribute("aria-label")
    assert "filter bank" in card.locator(".evqa-fbank").get_attribute("alt")
    assert "Tiny, based on random weights" in text


def test_an_image_is_scored_and_a_part_of_what_a_scorer_reads(visit, served, finished, tmp_path):
    Image.effect_noise((96, 64), 80).convert("RGB").save(tmp_path / "a photo.png")
    tab = visit(served)
    choose(tab, tmp_path / "a photo.png")
    assert tab.locator("img.evqa-preview").evaluate("image => image.decode().then(() => image.naturalWidth)") == 96
    tab.get_by_label("picture alone").check()
    tab.get_by_role("button", name="Score", exact=True).click()
    card = tab.locator(".evqa-card")
    card.wait_for(timeout=WAIT)
    (alone,) = evqa.load(finished.path, modal="v").score([tmp_path / "a photo.png"])
    assert float(card.locator("strong").first.inner_text()) == pytest.approx(alone.value, abs=1e-3)
    assert "Picture alone" in card.inner_text()
    assert card.locator("figcaption").all_inner_texts() == ["0.00 s"] * 8  # as a video of one frame


def test_a_broken_upload_is_told_as_by_the_command(visit, served, finished, tmp_path, capsys):
    broken = tmp_path / "broken.mp4"
    broken.write_text("<html>Please log in</html>")
    with pytest.raises(SystemExit):
        predict([str(broken), "--scorer", str(finished.path)])
    (reason,) = re.findall("not scored: (.*)", capsys.readouterr().out)
    tab = visit(served)
    choose(tab, broken)
    tab.get_by_role("button", name="Score", exact=True).click()
    tab.get_by_role("alert").get_by_text(f"broken.mp4: {reason}", exact=True).wait_for(timeout=WAIT)
