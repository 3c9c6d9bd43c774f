"""Every published data set's option over a tiny set in the published layout: `prepare` with all of it, with parts."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from scipy import io

from evqa.config.compose import compose
from evqa.config.paths import conf_folder, group_options
from evqa.datasets.scenes import Scene, write_scene
from evqa.errors import AnnotationError
from evqa.runs.preparation import run
from evqa.training.plan import read_data_plan

LSVQ = (
    "name,p1,height,mos_p1,mos,frame_number,is_test,is_valid\n"
    "yfcc-batch1/722,a,9,1,67.75,240,False,1\nia-batch3/b,a,9,1,50.5,240,True,0\n"
)
VID = "Animation_1080P-01b3"
QUESTION = "Suppose ...:\n<image>In addition, ... motion features of the 8 frames of the entire video:\n <image>"
FLAGS = ". The temporal sequence of the stalling information of each frame is shown as follows: "


def mat(**columns):
    """A MATLAB file with column vectors, names as cell arrays, and something that is no column."""

    def write(path):
        cells = {name: np.array([[cell] for cell in cells], dtype=object if isinstance(cells[0], str) else float)
                 for name, cells in columns.items()}  # fmt: skip
        io.savemat(path, cells | {"video_dimensions": np.ones((3, 2)), "about": "text"})

    return write


def ratings(name, **rows):
    return json.dumps([{name: path, **values} for path, values in rows.items()])


def streaming(*rows):
    """Rows of (image, score, flags, level)."""
    return json.dumps([
        {"image": image, "gt_score": score, "frames per sec": 10, "conversations": [
            {"from": "human", "value": f"{QUESTION}{FLAGS}{flags} Based on the above, how would you evaluate it?"},
            {"from": "gpt", "value": f"The quality of this video is {level}."},
        ]}
        for image, score, flags, level in rows
    ])  # fmt: skip


def questions(*rows):
    """Rows of (image, score), of which the videos have two places for media."""
    return json.dumps([
        {"image": image, "conversations": [
            {"from": "human", "value": f"{'<image>' * (2 if image.endswith('.mp4') else 1)}How sharp is it?"},
            {"from": "gpt", "value": "Very."},
        ]} | ({"frames per sec": 1} if image.endswith(".mp4") else {}) | ({"gt_score": score} if score else {})
        for image, score in rows
    ])  # fmt: skip


# By option: tables with their contents, videos, and the records that must come out, by split.
LAYOUTS = {
    "lsvq": (
        {"labels_train_test.csv": LSVQ},
        ("yfcc-batch1/722.mp4", "ia-batch3/b.mp4"),
        {"train": {"yfcc-batch1/722": 67.75}, "test": {"ia-batch3/b": 50.5}},
    ),
    "lsvq_test": (
        {"labels_train_test.csv": LSVQ},
        ("ia-batch3/b.mp4",),
        {"test": {"ia-batch3/b": 50.5}},
    ),
    "lsvq_1080p": (
        {"labels_test_1080p.csv": "name,mos,is_valid\nyfcc-batch1/9,82.5,1\n"},
        ("yfcc-batch1/9.mp4",),
        {"test": {"yfcc-batch1/9": 82.5}},
    ),
    "konvid1k": (
        {"KoNViD_1k_metadata/KoNViD_1k_mos.csv": '"flickr_id","mos"\n3339962845,4.64\n8171831850,1.22\n'},
        ("KoNViD_1k_videos/3339962845.mp4", "KoNViD_1k_videos/8171831850.mp4"),
        {"train": {"3339962845": 4.64, "8171831850": 1.22}},
    ),
    "livevqc": (
        {"data.mat": mat(video_list=["A001.mp4", "A002.mp4"], mos=[80.232, 57.3005])},
        ("Video/A001.mp4", "Video/A002.mp4"),
        {"train": {"A001.mp4": 80.232, "A002.mp4": 57.3005}},
    ),
    "ytugc": (
        {"original_videos_MOS_for_YouTube_UGC_dataset.csv": f"vid,MOS chunk00,MOS full\n{VID},3,3.649\n"},
        (f"original_videos_h264/{VID}_crf_10_ss_00_t_20.0.mp4",),
        {"train": {VID: 3.649}},
    ),
    "ytgaming": (
        {"LIVEYTGaming.mat": mat(video_list=["CSGO-002", "FIFA-001"], MOS=[45.5, 57.25])},
        ("mp4/CSGO-002.mp4", "mp4/FIFA-001.mp4"),
        {"train": {"CSGO-002": 45.5, "FIFA-001": 57.25}},
    ),
    "vqa2_lsvq_test": (
        {"LSVQ(test).json": ratings("img_path", **{"yfcc-batch1/747.mp4": {"mos": 67.75}})},
        ("yfcc-batch1/747.mp4",),
        {"test": {"yfcc-batch1/747.mp4": 67.75}},
    ),
    "vqa2_lsvq_1080p": (
        {"lsvq1080p.json": ratings("img_path", **{"yfcc-batch1/722.mp4": {"mos": 0.8284171874620042, "level": 5}})},
        ("yfcc-batch1/722.mp4",),
        {"test": {"yfcc-batch1/722.mp4": 0.8284171874620042}},
    ),
    "vqa2_konvid1k": (
        {"konvid1k.json": ratings("video_path", **{"1.mp4": {"mos": 0.4, "level": 3}})},
        ("KoNViD_1k_videos/1.mp4",),
        {"train": {"1.mp4": 0.4}},
    ),
    "vqa2_livevqc": (
        {"LIVE-VQC.json": ratings("img_path", **{"A001.mp4": {"mos": 80.232}})},
        ("Video/A001.mp4",),
        {"train": {"A001.mp4": 80.232}},
    ),
    "vqa2_ytugc": (
        {"YT_UGC1.json": ratings("img_path", **{"Vlog_720P-1a2b.mp4": {"mos": 3.649}})},
        ("original_videos_h264/Vlog_720P-1a2b_crf_10_ss_00_t_20.0.mp4",),
        {"train": {"Vlog_720P-1a2b.mp4": 3.649}},
    ),
    "vqa2_ytgaming": (
        {"YT-Gaming.json": ratings("img_path", **{"CSGO-002.mp4": {"mos": 0.4547867440913055, "level": 3}})},
        ("mp4/CSGO-002.mp4",),
        {"train": {"CSGO-002.mp4": 0.4547867440913055}},
    ),
    "vqa2_ugc_test": (
        {"UGC_test.json": ratings("img_path", **{"-2bx59z9fBM-00005.mp4": {"mos": 63.72413793}})},
        ("videos/-2bx59z9fBM-00005.mp4",),
        {"test": {"-2bx59z9fBM-00005.mp4": 63.72413793}},
    ),
    "vqa2_streaming": (
        {
            "live-ii_ver1.json": streaming(("live/a.mp4", "28.8", "00011000", "poor")),
            "waterloo_I_ver1.json": streaming(("w1/b.mp4", "42.0", "00000000", "fair")),
            "waterloo_III_ver1.json": streaming(("w3/c.mp4", "80", "11000011", "high")),
        },
        ("videos/live/a.mp4", "videos/w1/b.mp4", "videos/w3/c.mp4"),
        {"train": {"live-ii_ver1/live/a.mp4": 28.8, "waterloo_I_ver1/w1/b.mp4": 42, "waterloo_III_ver1/w3/c.mp4": 80}},
    ),
    "waterloo_iv": (
        {"waterloo_iv.json": json.dumps([{"image": "x.mp4", "gt_score": "57.2", "stalling": "2+3"}])},
        ("videos/x.mp4",),
        {"test": {"waterloo_iv/x.mp4": 57.2}},
    ),
    "vqa2_stage3": (
        {"state3_mix.json": questions(("lsvq/a.mp4", "57.2"), ("lsvq/a.mp4", None), ("koniq/b.png", None))},
        ("lsvq/a.mp4", "koniq/b.png"),
        {"train": {"state3_mix/1": 57.2, "state3_mix/2": None, "state3_mix/3": None}},
    ),
}  # fmt: skip
OWN = (
    "table",
    "llava",
    "snapugc",
    "synthetic",
    "synthetic_distortions",
    "synthetic_quality",
)  # of one's own tables and clips
PRESETS = sorted(set(group_options(conf_folder() / "data")) - set(OWN))


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    write_scene(Scene(id="clip", visual=0.0, acoustic=0.0, grade=0, seed=(0,)), folder=folder)
    return folder / "clip.mp4"


def write(folder, preset, clip):
    tables, videos, splits = LAYOUTS[preset]
    for name, content in tables.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        content(folder / name) if callable(content) else (folder / name).write_text(content)
    for name in videos:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(clip, folder / name) if name.endswith(".mp4") else Image.new("RGB", (8, 8)).save(folder / name)
    return splits


def configured(preset, folder, *more):
    places = (f"data.root={folder}", f"data.prepared={folder}/prepared", "data.cache.folder=null")
    return compose([f"data={preset}", *places, *more])


def found(config):
    splits = read_data_plan(config).dataset.read().splits
    return {name: {record.id: record.label for record in records} for name, records in splits.items()}


@pytest.mark.parametrize("preset", PRESETS)
def test_what_a_folder_lacks_is_named_with_its_origin_and_a_published_layout_is_read_as_it_is(
    preset, tmp_path, clip, capsys
):
    config = configured(preset, tmp_path / "home")
    with pytest.raises(AnnotationError) as caught:
        run(config)
    sentence = str(caught.value)
    assert all(f"no table {tmp_path}/home/{name}" in sentence for name in LAYOUTS[preset][0])
    assert "no folder of videos " in sentence
    assert f"(data.root={tmp_path}/home). {config.data.origin.strip()}" in sentence

    splits = write(tmp_path / "home", preset, clip)
    run(config)
    assert found(config) == splits
    rejects = read_data_plan(config).dataset.prepared_folder() / "rejects.csv"
    assert rejects.read_text().splitlines() == ["id,row,reason,table"]
    assert "missing" not in capsys.readouterr().out


@pytest.mark.parametrize("preset", ["konvid1k", "vqa2_streaming"])
def test_missing_videos_are_counted_and_where_to_get_them_is_said(preset, tmp_path, clip, capsys):
    write(tmp_path, preset, clip)
    next((tmp_path).rglob("*.mp4")).unlink()
    run(configured(preset, tmp_path))
    printed = " ".join(capsys.readouterr().out.split())
    assert "1 videos of the table are missing (the first: " in printed
    assert "https://" in printed
    for video in (tmp_path).rglob("*.mp4"):
        video.unlink()
    with pytest.raises(
        AnnotationError, match=r"no usable row is left:(.|\n)*videos of the table are missing.*https://"
    ):
        read_data_plan(configured(preset, tmp_path)).dataset.load()


def test_the_two_test_sets_of_lsvq_are_apart_from_its_training_set(tmp_path, clip):
    write(tmp_path, "lsvq", clip)
    table = tmp_path / "labels_train_test.csv"
    table.write_text(table.read_text().replace("False", "FALSE"))
    config = configured("lsvq", tmp_path)
    with pytest.raises(
        AnnotationError, match=r"no row has is_test='False' \(data\.train_value\); there are 'FALSE' \(1 r"
    ):
        read_data_plan(config).dataset.read()
    config = configured("lsvq", tmp_path, 'data.train_value="FALSE"')
    assert found(config) == {"train": {"yfcc-batch1/722": 67.75}, "test": {"ia-batch3/b": 50.5}}
    notes = read_data_plan(configured("lsvq_test", tmp_path)).dataset.read().notes
    assert notes == (
        "labels_train_test.csv: 1 rows are left out: of is_test ('FALSE' (1 rows), 'True' (1 rows)) only True",
    )


def test_a_label_that_is_not_on_the_declared_scale_is_refused_and_never_rescaled(tmp_path, clip):
    write(tmp_path, "vqa2_konvid1k", clip)
    given = read_data_plan(configured("vqa2_konvid1k", tmp_path, "data.label.range=[1,5]")).dataset.read()
    assert [reject.reason for reject in given.rejects] == ["mos is 0.4, outside 1..5"]
