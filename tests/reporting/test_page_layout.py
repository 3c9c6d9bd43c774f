"""How wide a report's page and its tables are in a browser."""

import html
import io
import json
import re
import shutil
import subprocess
from dataclasses import replace
from itertools import product

import pytest
from rich.console import Console

from evqa.reporting.comparing import compare
from evqa.reporting.document import Bullets, TableBlock, to_html
from evqa.reporting.pages import MAX_ROWS, compose
from evqa.reporting.runs import read_run
from evqa.reporting.show import show
from evqa.reporting.study import pool

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
TELL = """<script>addEventListener("load", () => parent.postMessage(JSON.stringify({
  page: [document.documentElement.clientWidth, document.documentElement.scrollWidth],
  text: document.querySelector("li").clientWidth,
  tables: [...document.querySelectorAll(".scroll")].map(one => [one.clientWidth, one.scrollWidth])}), "*"))</script>"""
FRAME = """<iframe src="page.html" style="border:0; width:{width}px; height:900px"></iframe>
<script>addEventListener("message", told => document.documentElement.setAttribute("data-told", told.data))</script>"""


@pytest.fixture(scope="module")
def page(tmp_path_factory, make_run):
    """A page of eight settings with three axes of long names, two seeds each, checkpoints chosen on the items."""
    root, runs = tmp_path_factory.mktemp("runs"), []
    for place, (modal, rate, rank) in enumerate(product(("av", "v"), ("0.0001", "0.00003"), ("16", "64"))):
        given = [f"optimizer.learning_rate={rate}", f"lora.rank={rank}"]
        for seed in range(2):
            own = {"overrides": [f"modal={modal}", *given], "name": f"{place}{seed}", "noise": 0.1 + place}
            runs.append(read_run(make_run(root, modal=modal, seed=seed, n=40, **own), split="val"))
    study = compare(pool(runs, split="val", num_resamples=50), baseline={"modal": "v"})
    assert len(study.axes) == 3
    return to_html("t", compose(study, {}))


def told(page, folder, *, width):
    """What a browser measures in a frame of this width, with every folded part opened."""
    bare = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    (folder / "page.html").write_text(bare.replace("<details>", "<details open>").replace("</body>", f"{TELL}</body>"))
    (folder / "frame.html").write_text(FRAME.format(width=width))
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--virtual-time-budget=3000",
        f"--user-data-dir={folder}/p",
    ]
    flags += ["--host-resolver-rules=MAP * ~NOTFOUND", f"--window-size={max(width, 600)},900"]
    command = [CHROMIUM, *flags, "--dump-dom", (folder / "frame.html").as_uri()]
    found = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout
    return json.loads(html.unescape(re.search(r'data-told="([^"]*)"', found)[1]))


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (apt-get install chromium)")
@pytest.mark.parametrize("width", [1200, 420])
def test_the_page_never_scrolls_sideways_and_its_tables_fit_a_wide_one(page, tmp_path, width):
    found = told(page, tmp_path, width=width)
    assert found["page"] == [width, width]
    assert found["text"] > 0.85 * width
    room, needed = found["tables"][0]  # of the settings, with three axes
    assert (needed <= room) == (width == 1200)


def test_of_a_long_table_the_first_rows_are_open_and_the_others_counted():
    rows = tuple((f"setting {number}", str(number)) for number in range(MAX_ROWS + 3))
    table = TableBlock(columns=("name", "n"), rows=rows, caption="All")
    first, rest = table.parts(MAX_ROWS, what="settings")
    assert first.rows + rest.rows == rows
    assert (first.folded, rest.folded, rest.caption) == (False, True, "3 more settings")
    assert table.parts(MAX_ROWS + 3, what="settings") == [table]


def test_the_terminal_counts_settings_that_it_does_not_list(tmp_path, make_run):
    study, text = pool([read_run(make_run(tmp_path, n=40), split="val")], split="val", num_resamples=20), io.StringIO()
    many = tuple(replace(study.best, name=f"note={number}") for number in range(MAX_ROWS + 1))
    show(replace(study, settings=many), folder=tmp_path, console=Console(file=text, width=80))
    assert f"note={MAX_ROWS - 1} " in text.getvalue()
    assert f"note={MAX_ROWS} " not in text.getvalue()
    assert "\n1 more setting that is no better: settings.csv and report.html" in text.getvalue()


def test_a_setting_of_two_axes_with_long_names_takes_one_line_of_80_columns(tmp_path, make_run):
    study, text = pool([read_run(make_run(tmp_path, n=40), split="val")], split="val", num_resamples=20), io.StringIO()
    one = replace(study.best, values={"modal": "av", "optimizer.learning_rate": "0.0003"})
    study = replace(study, axes=tuple(one.values), settings=(one,))
    show(study, folder=tmp_path, console=Console(file=text, width=80))
    assert re.search(r"^ *optimizer\. ", text.getvalue(), re.MULTILINE)
    numbers = r" +".join([r"0\.\d{3}"] * 4)
    assert re.search(
        rf"^av +0\.0003 +1 +0\.\d{{3}} +- +0\.\d{{3}} to 0\.\d{{3}} +{numbers}$", text.getvalue(), re.MULTILINE
    )


def test_only_long_words_of_a_table_may_break():
    table = TableBlock(columns=("optimizer.learning_rate",), rows=(("modal=av",), ("3.00000000000001<b",)))
    found = to_html("t", [table, Bullets(items=("optimizer.learning_rate",))])
    assert "<th>optimizer.<wbr>learning_<wbr>rate</th>" in found
    assert "<td>modal=av</td>" in found
    assert "<td>3.00000000000001&lt;b</td>" in found
    assert "<li>optimizer.learning_rate</li>" in found
