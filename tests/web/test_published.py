"""Published scorers, of small weights in their layout, on a page."""

import pytest
from gradio_client import Client, handle_file

import evqa
from tests.models.vqa2 import reference
from tests.scoring.test_vqa2 import write_video
from tests.web.test_score_tab import choose

WAIT = 60_000
QUESTION = "Is it sharp?"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("published")
    reference.write_random(home / "weights")
    write_video(home / "video.mkv", frames=40, fps=10, size=(64, 48), seed=0)
    return home


@pytest.fixture(scope="module")
def overrides(home):
    exactly = ["model.dtype=float32", "trainer.precision=32", "trainer.accelerator=cpu"]
    license = ["model.license.name=apache-2.0", f"model.license.of='{home}/weights'"]
    return [f"model.checkpoint='{home}/weights'", *exactly, *license]


@pytest.fixture(scope="module")
def page(serve, overrides):
    flags = [part for line in overrides for part in ("--override", line)]
    with serve("--scorer", "vqa2_ugc", "--scorer", "vqa2_assistant", *flags) as page:
        yield page


def test_a_published_assistant_streams_its_answer(page, home, overrides):
    scorer = evqa.load("vqa2_assistant", overrides=overrides)
    (right,) = scorer.ask([home / "video.mkv"], question=QUESTION)
    file = handle_file(home / "video.mkv")
    told = list(Client(page.address, verbose=False).submit([file], QUESTION, "vqa2_assistant", api_name="/ask"))
    assert told[-1] == {"scorer": "vqa2_assistant", "answer": right.text, "missing": [], "error": None}
    assert 0 < len(told[0]["answer"]) < len(right.text)


def test_a_published_scorer_scores_and_names_base_and_license(visit, page, home, overrides):
    tab = visit(page)
    choose(tab, home / "video.mkv")
    tab.get_by_role("button", name="Score", exact=True).click()
    card = tab.locator(".evqa-card")
    card.wait_for(timeout=WAIT)
    (right,) = evqa.load("vqa2_ugc", overrides=overrides).score([home / "video.mkv"])
    assert float(card.locator("strong").first.inner_text()) == pytest.approx(right.value, abs=1e-3)
    about = "Vqa2, based on weights; license of the weights: apache-2.0."
    assert about in card.inner_text()
    tab.get_by_role("tab", name="Ask").click()
    tab.get_by_text(about, exact=True).and_(tab.locator(":visible")).wait_for(timeout=WAIT)
    assert str(home) not in tab.content()
