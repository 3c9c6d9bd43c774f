"""Records with further texts, several files, given conversations and tags."""

import json
from dataclasses import replace

import pytest

from evqa.datasets.snapugc import SnapUGC
from evqa.datasets.table import Table
from evqa.errors import AnnotationError, ConfigError
from evqa.runs.origin import changes, digest
from evqa.types import MEDIA, LabelScale, Turn

SCALE = LabelScale(name="mos", range=(1, 5))


@pytest.fixture
def folder(tmp_path):
    """Four files of different content; `table(text)` writes a table beside them."""
    (tmp_path / "videos").mkdir()
    for name in ("a", "b", "c", "d"):
        (tmp_path / "videos" / f"{name}.mp4").write_text(name * 9)
    return tmp_path


def table(folder, text, name="t.csv", **settings):
    (folder / name).write_text(text)
    return Table(path=str(folder / name), root=str(folder / "videos"), label=SCALE, val_fraction=0, **settings)


def conversation(**item):
    return json.dumps({"id": "a", "mos": 3, **item}) + "\n"


def records(dataset):
    return {record.id: record for record in dataset.read().splits["train"]}


def test_any_column_that_a_prompt_names_is_a_text_under_that_very_name(folder):
    data = table(folder, "id,mos,creator,Mood of it\na,3,Ann,calm\nb,4,,wild\n")
    assert records(data)["a"].texts == {}
    found = records(data.asking(["creator", "Mood of it"]))
    assert found["a"].texts == {"creator": "Ann", "Mood of it": "calm"}
    assert found["b"].texts == {"Mood of it": "wild"}  # an empty cell is no text


def test_title_and_description_keep_their_names_whatever_their_columns_are_called(folder):
    data = table(folder, "id,mos,headline,title\na,3,Big news,other\n", title_column="headline")
    assert records(data.asking(["title"]))["a"].texts == {"title": "Big news"}
    (folder / "s.csv").write_text("Id,Title,Description,Download_link,ECR,creator\na,T,D,,0.5,Ann\n")
    snapugc = SnapUGC(csv=str(folder / "s.csv"), videos=str(folder / "videos"), val_fraction=0)
    assert records(snapugc.asking(["title", "creator"]))["a"].texts == {
        "title": "T",
        "description": "D",
        "creator": "Ann",
    }


@pytest.mark.parametrize("where", ["train", "val"])
def test_a_text_that_a_table_lacks_is_answered_with_the_nearest_column_for_every_table(folder, where):
    texts = {"train": "id,mos,creator\na,3,Ann\n", "val": "id,mos,creator\nb,3,Ann\n"}
    texts[where] = texts[where].replace("creator", "Creators")
    (folder / "v.csv").write_text(texts["val"])
    data = table(folder, texts["train"], val_path=str(folder / "v.csv")).asking(["creator", "title"])
    name = {"train": "t.csv", "val": "v.csv"}[where]
    with pytest.raises(ConfigError) as caught:
        table(folder, texts["train"], val_path=str(folder / "v.csv")).asking(["creator"]).load()
    assert str(caught.value) == (
        f"prompt.question names {{creator}}, but {folder}/{name}: no column 'creator' (did you mean 'Creators'?). Its "
        "columns are: id, mos, Creators."
    )
    with pytest.raises(ConfigError, match=r"names \{.*title\}, but .*no column 'title'"):
        data.load()


def test_several_path_columns_give_a_record_its_files_in_their_order(folder):
    text = "id,mos,first,second\np,3,b,a.mp4\nq,3,a,gone\nr,3,,d\n"
    given = table(folder, text, path_column=["first", "second"]).read()
    (pair,) = given.splits["train"]
    assert [path.name for path in pair.paths] == ["b.mp4", "a.mp4"]
    assert {reject.id: reject.reason for reject in given.rejects} == {
        "q": f"second: no video gone.mp4 in {folder}/videos (nor with another extension)",
        "r": "first: names no file: the name is empty",
    }
    with pytest.raises(ConfigError, match=r"data\.path_column=\['first', 'first'\]: name each column once"):
        table(folder, text, path_column=["first", "first"])


def test_how_many_groups_went_where_is_told(folder):
    rows = "id,mos,genre\na,1,news\nb,2,news\nc,4,sport\nd,5,\n"
    given = table(folder, rows, group_column="genre")
    found = replace(given, val_fraction=0.3).load()
    assert {one.id for one in found.splits["val"]} == {"a", "b"}
    assert found.notes == ("Groups of data.group_column: 1 in train (sport), 1 in val (news); rows without one: 1.",)
    (folder / "val.csv").write_text("id,mos,genre\nd,1,news\n")
    both = table(folder, rows.replace("d,5,\n", ""), group_column="genre", val_path=str(folder / "val.csv")).load()
    assert both.notes == (
        "Groups of data.group_column: 2 in train (news, sport), 1 in val (news); 1 on more than one side: news.",
    )


def test_equal_files_are_one_group_in_every_split_also_where_a_table_of_its_own_gives_it(folder):
    for name, content in (("b", "a"), ("d", "c")):
        (folder / "videos" / f"{name}.mp4").write_text(content * 9)
    (folder / "val.csv").write_text("id,mos\nc,1\nd,2\n")
    found = table(folder, "id,mos\na,1\nb,2\n", val_path=str(folder / "val.csv")).load()
    assert all(len({one.group for one in records} - {None}) == 1 for records in found.splits.values() if records)
    test = Table(test_path=str(folder / "val.csv"), root=str(folder / "videos"), label=SCALE).load()
    assert [one.group for one in test.splits["test"]] == [one.group for one in found.splits["val"]]


def test_the_name_of_the_groups_column_is_no_tag(folder):
    with pytest.raises(ConfigError, match=r"data\.tag_columns=\['group'\]: group is written beside the scores already"):
        table(folder, "id,mos,group\na,1,x\n", tag_columns=["group"])


def test_pairs_that_share_a_file_stay_on_one_side(folder):
    text = "id,mos,first,second\np,3,a,b\nq,3,b,c\nr,3,d,d\n"
    data = table(folder, text, path_column=["first", "second"]).load()
    groups = {record.id: record.group for record in data.splits["train"]}
    assert groups["p"] == groups["q"] != groups["r"]
    (folder / "v.csv").write_text("id,mos,first,second\nz,3,c,d\n")
    with pytest.raises(AnnotationError, match="train q: its file is the same as that of z in the val table"):
        table(folder, text, path_column=["first", "second"], val_path=str(folder / "v.csv")).load()


def test_a_pattern_says_where_the_file_of_a_name_lies_and_leads_nowhere_else(folder):
    (folder / "videos" / "a_crf_10_t_20.0.mp4").write_text("encoded")
    text = "id,mos\na,3\nb.mp4,4\n../a,3\n"
    given = table(folder, text, path_pattern="{stem}_crf_10_t_20.0").read()
    assert {record.id: record.paths[0].name for record in given.splits["train"]} == {"a": "a_crf_10_t_20.0.mp4"}
    assert {reject.id: reject.reason for reject in given.rejects} == {
        "b.mp4": f"no video b_crf_10_t_20.0.mp4 in {folder}/videos (nor with another extension)",
        "../a": f"'../a_crf_10_t_20.0' would leave the folder {folder}/videos; name a file below it",
    }
    with pytest.raises(ConfigError, match=r"data\.path_pattern=videos/: write \{stem\} once"):
        table(folder, text, path_pattern="videos/")


def test_a_column_divides_a_table_and_what_belongs_to_no_split_is_told(folder):
    text = "id,mos,part\na,3,train\nb,,test\nc,4,other\nd,5,train\nd\n"
    parts = {"split_column": "part", "train_value": "train", "test_value": "test"}
    given = table(folder, text, **parts).read()
    assert {name: [(r.id, r.label) for r in records] for name, records in given.splits.items()} == {
        "train": [("a", 3.0), ("d", 5.0)],
        "test": [("b", None)],
    }
    assert [reject.row for reject in given.rejects] == [5]
    (note,) = given.notes
    assert note.startswith("t.csv: 1 rows are left out: of part ('train' (2 rows), ")
    with pytest.raises(ConfigError, match=r"data\.split_column=None: give it together with data\.train_value"):
        table(folder, text, train_value="train")
    with pytest.raises(ConfigError, match=r"data\.test_path: data\.test_value takes that split from data\.path"):
        table(folder, text, **parts, test_path="t.csv")
    with pytest.raises(ConfigError, match=r"data\.path: give the training table, or data\.test_path"):
        Table(root=str(folder), label=SCALE)


def test_several_tables_are_one_set_and_an_id_stands_in_one_of_them(folder):
    (folder / "more.csv").write_text("id,mos\nc,4\n")
    both = [str(folder / "t.csv"), str(folder / "more.csv")]
    (folder / "t.csv").write_text("id,mos\na,3\nb,4\n")
    data = Table(path=both, root=str(folder / "videos"), label=SCALE, val_fraction=0)
    assert list(records(data)) == ["a", "b", "c"]
    (folder / "more.csv").write_text("id,mos\nb,4\n")
    with pytest.raises(AnnotationError, match=r"1 ids stand in more than one train table \(the first: b\)"):
        data.read()


def test_a_test_split_is_held_out_by_the_seed_before_validation_and_shares_no_file_with_the_rest(folder):
    for at in range(40):
        (folder / "videos" / f"v{at}.mp4").write_text(f"content {at // 2}")  # pairs of copies
    text = "id,mos\n" + "".join(f"v{at},{1 + at % 5}\n" for at in range(40))

    def divided(seed):
        data = table(folder, text, test_fraction=0.2, split_seed=seed)
        return {
            name: {r.id for r in records} for name, records in replace(data, val_fraction=0.25).load().splits.items()
        }

    splits = divided(0)
    assert {name: len(ids) for name, ids in splits.items()} == {"train": 24, "val": 8, "test": 8}
    assert len(set().union(*splits.values())) == 40
    pairs = {name: {int(one[1:]) // 2 for one in ids} for name, ids in splits.items()}
    assert not pairs["test"] & (pairs["train"] | pairs["val"])
    assert divided(0) == splits
    assert divided(1)["test"] != splits["test"]
    with pytest.raises(AnnotationError, match=r"data\.test_fraction=0\.2: the data set has test videos already"):
        table(folder, text, test_fraction=0.2, test_path=str(folder / "t.csv")).load()


def test_tags_are_kept_and_no_part_of_the_text(folder):
    data = table(folder, "id,mos,codec,kind\na,3,h264,\n", tag_columns=["codec", "kind"])
    assert records(data)["a"].tags == {"codec": "h264"}
    assert records(data)["a"].texts == {}
    with pytest.raises(ConfigError, match=r"tag_columns=\['duration'\]: duration is written beside the scores already"):
        table(folder, "id,mos,duration\na,3,5\n", tag_columns=["duration"])


ROLES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "<media>How good?"},
    {"role": "assistant", "content": "Hm.", "learn": False},
    {"role": "user", "content": "Well?"},
    {"role": "assistant", "content": " good"},
]
LLAVA = [{"from": "human", "value": f"<image>\nHow {MEDIA} good?"}, {"from": "gpt", "value": "Good."}]


def test_a_conversation_is_read_from_a_list_of_turns(folder):
    data = table(folder, conversation(turns=ROLES), "t.jsonl", turns_column="turns")
    assert records(data)["a"].turns == (
        Turn(role="system", text="Be brief."),
        Turn(role="user", text=f"{MEDIA}How good?"),
        Turn(role="assistant", text="Hm."),
        Turn(role="user", text="Well?"),
        Turn(role="assistant", text=" good", learn=True),
    )


def test_a_conversation_in_llava_s_form_is_read_too_and_text_makes_no_place_of_its_own(folder):
    data = table(folder, conversation(conversations=LLAVA, video="b.mp4"), "t.jsonl", turns_column="conversations")
    (record,) = records(data).values()
    assert record.turns == (
        Turn(role="user", text=f"{MEDIA}\nHow \N{REPLACEMENT CHARACTER} good?"),
        Turn(role="assistant", text="Good.", learn=True),
    )


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        ([], "holds no conversation"),
        ("How good?", "holds no conversation"),
        (
            [{"role": "dog", "content": "wuff"}],
            "no role (system, user, assistant, human, gpt) with words in turn 1",
        ),
        ([{"role": "user", "content": "a"}, {"role": "assistant"}], "with words in turn 2"),
        ([{"role": "user", "content": "a", "learn": True}], "says learn=True in turn 1; only the assistant's words"),
    ],
)
def test_what_is_no_conversation_costs_its_row_and_is_told(folder, turns, reason):
    text = conversation(turns=turns) + conversation(id="b", turns=ROLES)
    given = table(folder, text, "t.jsonl", turns_column="turns").read()
    assert [record.id for record in given.splits["train"]] == ["b"]
    assert given.rejects[0].reason.startswith("turns ")
    assert reason in given.rejects[0].reason


def test_a_list_in_any_other_column_is_refused_as_before(folder):
    text = conversation(turns=ROLES, more=[1]) + conversation(id="b", turns=ROLES)
    given = table(folder, text, "t.jsonl", turns_column="turns").read()
    assert given.rejects[0].reason.startswith("holds a list or an object in 'more'")


def test_conversations_need_no_label_where_their_table_has_none(folder):
    text = json.dumps({"id": "a", "turns": ROLES}) + "\n"
    (record,) = table(folder, text, "t.jsonl", turns_column="turns").load().splits["train"]
    assert record.label is None
    with pytest.raises(AnnotationError, match="no column 'mos'"):
        table(folder, "id\na\n").load()


def test_what_a_run_s_data_hold_counts_further_texts_and_conversations_but_no_tags(folder):
    text = "id,mos,creator,codec\na,3,Ann,h264\n"
    plain = digest(table(folder, text).read().splits["train"])
    assert digest(table(folder, text, tag_columns=["codec"]).read().splits["train"]) == plain
    asked = digest(table(folder, text).asking(["creator"]).read().splits["train"])
    other = digest(table(folder, text.replace("Ann", "Bob")).asking(["creator"]).read().splits["train"])
    assert changes({"train": asked}, {"train": other}) == ["the texts of train"]
    spoken = [
        digest(table(folder, conversation(turns=turns), "t.jsonl", turns_column="turns").read().splits["train"])
        for turns in (ROLES, ROLES[:-1])
    ]
    assert changes({"train": spoken[0]}, {"train": spoken[1]}) == ["the texts of train"]


def test_the_digest_of_titles_and_descriptions_is_that_of_earlier_versions(folder):
    data = table(folder, "id,mos,title\na,3,T\nb,4,\n", title_column="title")
    assert digest(data.read().splits["train"])["texts"] == (
        "222460b44c217ddf7c4cad242c5005c49ec8de8d28a9b48474fa6fe8c190f23b"
    )
