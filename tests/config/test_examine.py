"""Command lines against the project's own configuration files."""

import re
import shlex

import pytest

from evqa.config.compose import compose
from evqa.config.composer import open_configuration
from evqa.config.examine import examine
from evqa.config.keys import every_key
from evqa.config.overrides import quote
from evqa.config.words import CALLED, keys_meant
from evqa.errors import ConfigError


@pytest.fixture(scope="module")
def composer():
    return open_configuration("train")


@pytest.mark.parametrize(
    ("argument", "problem"),
    [
        ("modle=tiny", "modle: the configuration has no such key. Did you mean 'model'?"),
        ("model=tny", r"model=tny: model has no option 'tny'\. Did you mean 'tiny'\? Options: .*tiny"),
        ("frames=8", r"frames=8: frames has no option '8'\. Options: .*first8.*uniform8"),
        ("model=null", r"model=null: to choose nothing write '~model'\. Options: .*tiny"),
        (
            "t.csv",
            "'t.csv' is not of the form key=value. A table is given as data=table data.path=t.csv data.root=FOLDER.",
        ),
        (
            "data=a/t.csv",
            "data=a/t.csv: data has no option 'a/t.csv'. A table is given as data=table data.path=a/t.csv ",
        ),
        ("epochs=10", "epochs: the configuration has no such key. Did you mean 'trainer.epochs'?"),
        ("lr=1e-4", "lr: the configuration has no such key. Did you mean 'optimizer.learning_rate'?"),
        ("batch_size=4", "batch_size: the configuration has no such key. Did you mean 'data.batch_size'?"),
        ("num_frames=8", "num_frames: the configuration has no such key. Did you mean 'frames.count'?"),
        ("frames.num=8", "frames.num: FrameSampling takes no argument 'num'. Did you mean 'frames.count'?"),
        ("data.batch=4", "data.batch: Synthetic takes no argument 'batch'. Did you mean 'data.batch_size'?"),
        ("model.lr=1", "model.lr: Tiny takes no argument 'lr'. Did you mean 'optimizer.learning_rate'?"),
        (
            "trainer.batch_size=1",
            "trainer.batch_size: TrainerSettings takes no argument 'batch_size'. Did you mean 'data.",
        ),
        ("data.root=v", r"data\.root: Synthetic takes no argument 'root'\. It belongs to .*data=table\.$"),
        ("learning_rat=1", "learning_rat: the configuration has no such key. Did you mean 'optimizer.learning_rate'?"),
        ("seconds=4", "seconds: the configuration has no such key. Did you mean 'audio.seconds' or 'frames.seconds'?"),
        (
            "model.checkpoint=x",
            "model.checkpoint: Tiny takes no argument 'checkpoint'. It belongs to model=qwen2_5_omni, ",
        ),
        ("data.csv=x", r"data\.csv: Synthetic takes no argument 'csv'\. It belongs to .*, data=snapugc, data=table\.$"),
        ("~model", r"model: nothing is chosen\. Options: .*tiny"),
        ("model.name=tiny", "model.name=tiny: model has no key 'name'; to choose another model write 'model=tiny'."),
        (
            "data.label=ECR",
            "data.label=ECR would replace a component by a string; to name it write 'data.label.name=ECR'.",
        ),
        ("frames/count=3", "frames/count: there is no such group. For a key inside a group write dots: frames.count=3"),
        ("modell/lora=r16", "modell/lora: there is no such group. Did you mean 'model'?"),
        (
            "optimizer.learing_rate=1",
            "optimizer.learing_rate: AdamW takes no argument 'learing_rate'. Did you mean 'learning_rate'?",
        ),
        ("+optimizer.foo=1", r"optimizer\.foo: AdamW takes no argument 'foo'\. Known: .*eps"),
        ("optimizer.learning_rate=fast", r"optimizer\.learning_rate: expected float.*, got 'fast'\."),
        ("frames.policy=unifrm", r"frames\.policy: expected one of .*, got 'unifrm'\. Did you mean 'uniform'\?"),
        ("frames.count=???", "frames.count: needs a value (expected int)."),
        (
            "audio.seconds=${frames.secs}",
            "audio.seconds: cannot be worked out: Interpolation key 'frames.secs' not found.",
        ),
        (
            "seed=1,2",
            "seed: 1,2 is several values. To run each of them add -m; for one text with commas write 'seed=\"1,2\"'",
        ),
        ("modal=a,v", "modal=a,v: one run takes one modal. To run each of them add -m."),
        ("seed.x=1", "seed.x: 'seed' is a single value and has no keys."),
        ("~sead", "~sead: there is nothing to take away. Did you mean 'seed'?"),
        ("tiny", "'tiny' is not of the form key=value."),
        ("a b=1", "'a b=1': 'a b' is no key. Write key=value without spaces around the equals sign."),
        (
            "run.name=It's (new)",
            "run.name: the value It's (new) cannot be read; commas, quotes and brackets have a meaning there. "
            "A text needs two pairs of quotes: 'run.name=\"It'\"'\"'s (new)\"'",
        ),
        ("hydra.launcher.partition=gpu", "hydra.launcher.partition: "),
        ("modal.dropout=1.5", "modal.dropout: expected float with 0 <= dropout < 1, got 1.5."),
    ],
)
def test_a_mistake_gets_one_sentence(composer, argument, problem):
    (found,) = examine(composer, [argument]).problems
    assert found.startswith(problem) or re.match(problem, found), found


def test_all_mistakes_are_told_at_once(composer):
    arguments = [
        "model=tny",
        "modle=1",
        "seed=a",
        "frames.conut=1",
        "(=",
        "optimizer.eps=x",
        "modal=a",
        "modal.dropout=0.5",
    ]
    assert [problem.partition(":")[0] for problem in examine(composer, arguments).problems] == [
        "(",
        "model=tny",
        "modle",
        "frames.conut",
        "seed",
        "optimizer.eps",
        "modal.dropout=0.5",
    ]


def test_a_word_of_elsewhere_is_that_of_one_key_that_exists(composer):
    choices = [f"data={name}" for name in ("table", "snapugc")] + ["lora=r16", "model=videollama2"]
    known = {key for choice in choices for key in every_key(composer.compose([choice]))} | {*composer.groups}
    assert CALLED.keys() <= known
    for key, words in CALLED.items():
        assert all(key in keys_meant(word, known) for word in words.split()), key


def test_a_data_set_s_key_is_understood_by_its_name_in_another(composer):
    plan = examine(composer, ["data=table", "data.csv=a.csv", "data.videos=v", "data.label.range=[1,5]"])
    assert (plan.problems, plan.lines[1:3]) == ([], ["data.path=a.csv", "data.root=v"])
    assert plan.notes[0] == "data.csv is read as data.path, its name in the data set that is chosen."
    back = examine(composer, ["data=snapugc", "data.path=a.csv,b.csv", "data.root=v"], multirun=True)
    assert (back.problems, back.lines[1:]) == ([], ["data.csv=a.csv,b.csv", "data.videos=v"])
    assert examine(composer, ["data=table", "data.csv=a", "data.path=b", "data.root=v"]).problems == [
        "data.csv: this is data.path, which is given too; leave one away.",
        "data.label.range: needs a value (expected list of 2 values (float, float)). For instance [1,5], the ends of "
        "the label's scale.",
    ]


@pytest.mark.parametrize(
    "argument", ["seed=3", "modal=a", "lora=r16", "frames.count=4", "+run.name=x", "optimizer={eps: 1.0}"]
)
def test_a_good_override_reaches_hydra_as_it_is(composer, argument):
    plan = examine(composer, [argument])
    assert (plan.problems, plan.lines) == ([], [argument])


def test_an_argument_that_the_yaml_does_not_mention_needs_no_plus(composer):
    plan = examine(composer, ["lora=none", "lora.rank=4", "optimizer.rates.head=0.1"])
    assert (plan.problems, plan.lines) == ([], ["lora=none", "+lora.rank=4", "+optimizer.rates.head=0.1"])


@pytest.mark.parametrize("text", ["/srv/vidéos/epoch=3.ckpt", "~/runs", "a;b", "50%!"])
def test_a_path_that_hydra_cannot_read_is_quoted_for_it(composer, text):
    plan = examine(composer, [f"run.root={text}"])
    assert plan.problems == []
    assert composer.compose(plan.lines).run.root == text


@pytest.mark.parametrize("text", ['it\'s "a, b"', "back\\", 'q\\"', "{x}: [y]", "a, b"])
def test_quoting_gives_the_text_that_was_meant(composer, text):
    assert composer.compose([f"run.root={quote(text)}"]).run.root == text


def test_the_advised_quotes_can_be_pasted_into_a_shell(composer):
    (problem,) = examine(composer, ["run.root=It's [a, b]"]).problems
    (argument,) = shlex.split(problem.partition("quotes: ")[2])
    assert composer.compose([argument]).run.root == "It's [a, b]"


def test_every_value_of_a_sweep_is_checked(composer):
    plan = examine(
        composer, ["modal=a,b", "seed=0,x", "frames.count=choice(1,y)", "optimizer.eps=interval(0,1)"], multirun=True
    )
    assert plan.problems == [
        "modal=b: modal has no option 'b'. Options: a, av, v.",
        "seed: expected int, got 'x'.",
        "frames.count: expected int, got 'y'.",
    ]


def test_rules_are_applied_to_each_choice_of_a_sweep(composer):
    plan = examine(composer, ["modal=av,a", "modal.dropout=0.5"], multirun=True)
    assert [problem.partition(":")[0] for problem in plan.problems] == ["modal.dropout=0.5"]


def test_compose_gives_a_complete_resolved_configuration_or_raises_everything():
    cfg = compose(["seed=3", "modal=a"])
    assert cfg.run.experiment == "default"
    assert cfg.run.name.startswith("tiny-a-regression-s3-")
    assert cfg.audio.seconds == 8.0
    with pytest.raises(ConfigError) as caught:
        compose(["seed=x", "modle=3"])
    assert len(caught.value.problems) == 2
