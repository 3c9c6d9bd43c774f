"""What is found in files, folders and tables, and what is said of the rest."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from evqa.errors import AnnotationError, ConfigError
from evqa.scoring.inputs import find_inputs
from evqa.scoring.sources import NamedColumns


def put(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def found(plan):
    """Ids that can be scored, with their file."""
    return {item.id: item.record.paths[0] for item in plan if item.record}


def reasons(plan):
    return [(item.id, item.reason) for item in plan if item.reason]


def test_files_and_folders_together_have_ids_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put(tmp_path, "x/v.mp4", "y/v.mp4", "y/w.mp4", "v.mp4")
    plan = find_inputs([Path(name) for name in ("x", "y", "v.mp4", "y/w.mp4", "x")])
    assert [item.id for item in plan] == ["x/v.mp4", "y/v.mp4", "w", "v.mp4"]
    assert (plan.num_items, plan.num_usable) == (4, 4)


def test_the_cases_of_tables_and_folders_are_found(cases, tmp_path):
    folder = cases / "media/10_predict_folder"
    assert [item.id for item in find_inputs([folder])] == ["a", "o", "sub/deep", "t", "w"]
    for table, videos, num in [
        ("07_nfd_subfolder/t.csv", cases / "media/07_nfd_subfolder/videos", 3),
        ("06_excel_trailing_commas.csv", tmp_path, None),
        ("06_dot_slash_ids.csv", tmp_path, None),
    ]:
        ids = [line.partition(",")[0] for line in (cases / "media" / table).read_text().splitlines()[1:]]
        put(tmp_path, *(f"{id_}.mp4" for id_ in ids if num is None))
        plan = find_inputs([cases / "media" / table], videos=videos)
        assert list(found(plan)) == ids
        assert not reasons(plan)


@pytest.mark.parametrize(
    ("header", "asked", "said"),
    [
        (
            "Id,Title,Description,Download_link,ECR",
            {},
            "id from 'Id', title from 'Title', description from 'Descr",
        ),
        ("video,mos", {}, "path from 'video'; no title and no description."),
        ("ID,file,title", {}, "id from 'ID', path from 'file', title from 'title'; no description."),
        ("name,clip,words", {"id": "name", "path": "clip"}, "id from 'name', path from 'clip'; no title and no descr"),
        ("a,video_path,b", {"title": "b"}, "path from 'video_path', title from 'b'; no description."),
    ],
)
def test_columns_with_a_usual_name_are_taken_and_said(tmp_path, header, asked, said):
    names = header.split(",")
    put(tmp_path, "one.mp4")
    (tmp_path / "t.csv").write_text(f"{header}\n{','.join(['one'] * len(names))}\n")
    plan = find_inputs([tmp_path / "t.csv"], columns=NamedColumns(**asked))
    assert found(plan) == {"one": tmp_path / "one.mp4"}
    assert said in plan.notes[0]


def test_a_table_that_names_no_file_lists_its_columns(tmp_path):
    (tmp_path / "t.csv").write_text("title,mos\na,1\n")
    with pytest.raises(AnnotationError, match=r"no column says which file is meant .* Its columns are: title, mos\."):
        find_inputs([tmp_path / "t.csv"])
    with pytest.raises(AnnotationError, match=r"no column 'titel' \(did you mean 'title'\?\)"):
        find_inputs([tmp_path / "t.csv"], columns=NamedColumns(id="titel"))


def test_a_link_out_of_the_videos_is_told_with_what_can_be_done_here(tmp_path):
    put(tmp_path, "elsewhere/a.mp4", "v/b.mp4")
    (tmp_path / "v/a.mp4").symlink_to(tmp_path / "elsewhere/a.mp4")
    (tmp_path / "t.csv").write_text("Id\na\nb\n")
    ((name, why),) = reasons(find_inputs([tmp_path / "t.csv"], videos=tmp_path / "v"))
    assert name == "a"
    assert why.startswith(f"a.mp4 is a link that leads out of {tmp_path / 'v'}; copy the file there")


def test_texts_of_a_table_keep_every_character_and_empty_ones_are_none(tmp_path):
    put(tmp_path, "a.mp4", "b.mp4")
    (tmp_path / "t.csv").write_text('Id,Title,Description\na,"a, ""b""\nc; \'d\' $x 视频",None\nb,,\n')
    texts = [dict(item.record.texts) for item in find_inputs([tmp_path / "t.csv"])]
    assert texts == [{"title": "a, \"b\"\nc; 'd' $x 视频", "description": "None"}, {}]


def test_an_id_twice_is_kept_once_or_not_at_all(tmp_path):
    put(tmp_path, "a.mp4", "b.mp4", "c.mp4")
    rows = ["a,x", "b,x", "a,x", "b,y", 'c,"open', "c,z", ",x", "c,z"]
    (tmp_path / "t.csv").write_text("\n".join(["Id,Title", *rows]) + "\n")
    plan = find_inputs([tmp_path / "t.csv"])
    different = "the Id stands in rows 2, 4 with different values; none of them is used"
    faults = reasons(plan)
    assert faults[:3] == [("b", different), ("a", "repeats row 1, which is kept"), ("b", different)]
    assert faults[3][1].startswith("its quotes do not follow RFC 4180")
    assert faults[4:] == [("", "Id is empty"), ("c", "repeats row 6, which is kept")]
    assert [item.id for item in plan if not item.is_extra] == ["a", "b", "c"]
    assert (plan.num_items, plan.num_usable) == (8, 2)


def test_several_tables_folders_and_files_are_scored_in_their_order(tmp_path):
    put(tmp_path, "v/a.mp4", "v/b.mp4", "w/c.mp4", "d.mp4")
    (tmp_path / "one.csv").write_text("Id\nb\na\n")
    (tmp_path / "two.jsonl").write_text('{"id": "a"}\n{"id": "e"}\n')
    plan = find_inputs([tmp_path / name for name in ("one.csv", "w", "two.jsonl", "d.mp4")], videos=tmp_path / "v")
    assert [item.id for item in plan] == ["b", "a", "c", "a", "e", str(tmp_path / "d.mp4")]
    assert reasons(plan) == [
        ("a", "repeats one.csv row 2, which is kept"),
        ("e", f"no video e.mp4 in {tmp_path / 'v'} (nor with another extension)"),
    ]
    with pytest.raises(ConfigError, match="a table brings its own"):
        find_inputs([tmp_path / "one.csv"], title="x")
    with pytest.raises(ConfigError, match="belong to a table, and no input is one"):
        find_inputs([tmp_path / "d.mp4"], videos=tmp_path)


def test_sound_files_of_a_folder_belong_to_scoring_by_sound(tmp_path):
    put(tmp_path, "a.mp4", "b.wav", "c.flac", "d.txt", "thumbnail.webp")
    plan = find_inputs([tmp_path])
    assert list(found(plan)) == ["a"]
    assert plan.notes == (f"{tmp_path}: passed over: 1 .flac, 1 .txt, 1 .wav, 1 .webp.",)
    assert list(found(find_inputs([tmp_path], with_sound=True))) == ["a", "b", "c"]
    assert list(found(find_inputs([tmp_path / "thumbnail.webp"]))) == [str(tmp_path / "thumbnail.webp")]


def test_images_of_a_folder_belong_to_scorers_that_read_them(tmp_path):
    put(tmp_path, "a.mp4", "b.jpg", "sub/b.PNG", "c.webp", "d.gif", "images/e.jpeg")
    assert list(found(find_inputs([tmp_path], with_images=True))) == ["a", "b", "c", "images/e", "sub/b"]
    with pytest.raises(AnnotationError, match=r"no videos in .*1 .jpeg\); of images a folder is scored by"):
        find_inputs([tmp_path / "images"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(AnnotationError, match="no videos or images in this folder or below"):
        find_inputs([tmp_path / "empty"], with_images=True)
    (tmp_path / "t.csv").write_text("image_name,MOS\nb.jpg,1\nsub/b.PNG,2\n")
    assert list(found(find_inputs([tmp_path / "t.csv"]))) == ["b.jpg", "sub/b.PNG"]


def test_a_table_that_changes_while_it_is_used_is_noticed(tmp_path):
    put(tmp_path, "a.mp4")
    (tmp_path / "t.csv").write_text("Id\na\n")
    plan = find_inputs([tmp_path / "t.csv"])
    (tmp_path / "t.csv").write_text("Id\na\nb\n")
    with pytest.raises(AnnotationError, match="has changed while it was used"):
        list(plan)


def test_the_digest_tells_other_inputs_and_nothing_else(tmp_path):
    put(tmp_path, "a.mp4", "b.mp4")
    (tmp_path / "t.csv").write_text("Id,Title\na,x\n")
    (tmp_path / "u.csv").write_text("Id,Title\na,y\n")
    digests = [find_inputs([tmp_path / name]).digest() for name in ("t.csv", "u.csv", "a.mp4", "b.mp4", ".", "t.csv")]
    digests.append(find_inputs([tmp_path / "a.mp4"], title="x").digest())
    assert len(set(digests)) == 6
    assert digests[0] == digests[5]


MILLION = 1_000_000 if "EVQA_EVERY_KILL" in os.environ else 50_000
FIND = """
import sys, time
from pathlib import Path
from evqa.scoring.inputs import find_inputs
begin = time.process_time()
plan = find_inputs([Path(sys.argv[1])])
seconds = time.process_time() - begin  # and not ru_maxrss, which begins with that of the process that started this one
(peak,) = (line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(plan.num_items, seconds, peak)
"""


@pytest.mark.parametrize("kind", ["table", "folder"])
def test_a_million_items_are_found_in_ten_seconds_and_a_gigabyte(tmp_path, kind):
    """Fewer of them here, in as much less time; EVQA_EVERY_KILL takes all."""
    number = MILLION
    if kind == "table":
        place = tmp_path / "t.csv"
        rows = (f'v{n:07},"a title, number {n}",some words about it,https://x.org/{n},0.5\n' for n in range(number))
        with place.open("w") as file:
            file.write("Id,Title,Description,Download_link,ECR\n")
            file.writelines(rows)
    else:
        place, number = tmp_path / "in", number // 5
        for n in range(number):
            if n % 1000 == 0:
                (place / f"{n:07}").mkdir(parents=True)
            os.close(os.open(f"{place}/{n // 1000 * 1000:07}/v{n}.mp4", os.O_CREAT | os.O_WRONLY))
    answer = subprocess.run(
        [sys.executable, "-c", FIND, place], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    num_items, seconds, kilobytes = map(float, answer.stdout.split())
    assert num_items == number
    assert seconds < 1 + 10 * number / 1_000_000
    assert kilobytes < 1_000_000
