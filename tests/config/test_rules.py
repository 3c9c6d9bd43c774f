import pytest
from omegaconf import OmegaConf

from evqa.config.rules import Design, broken_rules
from evqa.config.signature import Schema

BLIND = Schema(name="Qwen", facts={"modalities": ("v",), "generates": False})
ABLE = Schema(name="Tiny", facts={"modalities": ("a", "v", "av"), "generates": True})
LEVELS = Schema(name="LevelsHead", facts={"needs_logits": True})
REGRESSION = Schema(name="RegressionHead", facts={"needs_logits": False})
ALTERNATIVES = {"model": {"qwen": BLIND, "tiny": ABLE}, "head": {"levels": LEVELS, "regression": REGRESSION}}


def broken(values, model=ABLE, head=REGRESSION):
    cfg = OmegaConf.create({"modal": {"name": "v", "dropout": 0.0}, "run": {"name": None}})
    for key, value in values.items():
        OmegaConf.update(cfg, key, value)
    return broken_rules(Design(cfg=cfg, schemas={"model": model, "head": head}, alternatives=ALTERNATIVES.__getitem__))


def test_a_possible_configuration_breaks_no_rule():
    assert broken({}) == []


def test_a_model_without_ears_names_those_that_have_them():
    assert broken({"modal.name": "av"}, model=BLIND) == [
        "modal.name=av: Qwen works with 'v' only. Choose modal=v, or a model that can do 'av': model=tiny."
    ]


def test_a_head_that_reads_logits_needs_a_model_that_has_them():
    assert broken({}, model=BLIND, head=LEVELS) == [
        "head: LevelsHead reads logits, and Qwen has none. Choose a head that needs none (head=regression) or a model "
        "that has them (model=tiny)."
    ]


@pytest.mark.parametrize("modal", ["a", "v"])
def test_leaving_out_one_of_one_modality_is_refused(modal):
    assert broken({"modal.name": modal, "modal.dropout": 0.2}) == [
        f"modal.dropout=0.2: it leaves out picture or sound at random, and modal.name={modal} has only one of them. "
        "Write modal=av or modal.dropout=0."
    ]


PAIRS = Schema(name="Plcc", facts={"needs_pairs": True})
SINGLE = Schema(name="Mse", facts={"needs_pairs": False})
TEXT = Schema(name="TextHead", facts={"takes_loss": False})


def with_loss(schemas, head=REGRESSION, *, batch_size=1, weights=()):
    cfg = OmegaConf.create({"data": {"batch_size": batch_size}, "loss": {"terms": [{}] * len(weights)}})
    cfg.loss.weights = list(weights)
    if not weights:
        cfg.loss = {}
    design = Design(cfg=cfg, schemas={"head": head} | schemas, alternatives=ALTERNATIVES.__getitem__)
    return broken_rules(design), broken_rules(design, training=False)


@pytest.mark.parametrize(
    ("terms", "weights"),
    [((PAIRS,), ()), ((PAIRS, PAIRS), (1.0, 0.5)), ((SINGLE, PAIRS), (0.0, 1.0)), ((PAIRS,), (1.0,))],
)
def test_a_loss_between_items_needs_more_than_one_in_a_batch(terms, weights):
    schemas = {f"loss.terms.{place}": term for place, term in enumerate(terms)} | {"loss": terms[0]}
    (sentence,), scoring = with_loss(schemas, weights=weights)
    assert sentence.startswith("data.batch_size=1: ")
    assert sentence.endswith("Write data.batch_size=2 or more, or choose a loss of single items (loss=mse).")
    assert scoring == []
    assert with_loss(schemas, weights=weights, batch_size=2) == ([], [])
    assert with_loss(schemas, head=TEXT, weights=weights) == ([], [])


def test_a_head_that_learns_words_needs_no_second_item():
    cfg = OmegaConf.create({"data": {"batch_size": 1}, "loss": {}, "head": {"train": "words"}})
    schemas = {"head": LEVELS, "loss": PAIRS}
    assert broken_rules(Design(cfg=cfg, schemas=schemas, alternatives=ALTERNATIVES.__getitem__)) == []
    cfg.head.train = "score"
    assert len(broken_rules(Design(cfg=cfg, schemas=schemas, alternatives=ALTERNATIVES.__getitem__))) == 1


CONVERSATION = Schema(name="ConversationHead", facts={"takes_loss": False, "gives_scores": False})


@pytest.mark.parametrize(
    ("head", "monitors", "sentences"),
    [
        (CONVERSATION, {"checkpoints": "val/loss", "early_stopping": "val/loss"}, []),
        (REGRESSION, {"checkpoints": "val/plcc", "early_stopping": "val/challenge"}, []),
        (
            CONVERSATION,
            {"checkpoints": "val/srocc", "early_stopping": "val/plcc"},
            [
                "callbacks.checkpoints.monitor=val/srocc: ConversationHead gives no scores and is validated by its "
                "loss. Write callbacks.checkpoints.monitor=val/loss (or callbacks=loss).",
                "callbacks.early_stopping.monitor=val/plcc: ConversationHead gives no scores and is validated by its "
                "loss. Write callbacks.early_stopping.monitor=val/loss.",
            ],
        ),
        (
            REGRESSION,
            {"checkpoints": "val/loss"},
            [
                "callbacks.checkpoints.monitor=val/loss: RegressionHead is validated by its scores. Write "
                "callbacks.checkpoints.monitor=val/challenge."
            ],
        ),
    ],
)
def test_what_is_monitored_is_what_the_head_is_validated_by(head, monitors, sentences):
    callbacks = {name: {"monitor": monitor} for name, monitor in monitors.items()}
    assert broken({"callbacks": callbacks}, head=head) == sentences


@pytest.mark.parametrize(("terms", "weights"), [((SINGLE,), ()), ((SINGLE, PAIRS), (1.0, 0.5))])
def test_one_item_is_enough_where_another_term_trains(terms, weights):
    schemas = {f"loss.terms.{place}": term for place, term in enumerate(terms)} | {"loss": terms[0]}
    assert with_loss(schemas, weights=weights) == ([], [])


@pytest.mark.parametrize(
    ("method", "precision", "sentences"),
    [
        ("full", "bf16", []),
        ("full", "bf16-true", ["trainer.precision=bf16-true: with trainer.strategy=fsdp the weights have the type"]),
        ("lora", "32", ["trainer.strategy=fsdp: shards the weights of a full fine-tuning, and no adapters. Choose"]),
        ("qlora", "bf16", ["trainer.strategy=fsdp: shards the weights of a full fine-tuning, and no adapters. Choose"]),
    ],
)
def test_whole_weights_are_sharded_and_nothing_else(method, precision, sentences):
    found = broken({"trainer": {"strategy": "fsdp", "precision": precision}, "lora": {"method": method}})
    assert [sentence[: len(start)] for sentence, start in zip(found, sentences, strict=True)] == sentences
    assert broken({"trainer": {"strategy": "ddp", "precision": precision}, "lora": {"method": method}}) == []


@pytest.mark.parametrize(
    ("every", "epochs", "sentence"),
    [
        (1.5, 4, "trainer.validate_every=1.5: above 1 it counts whole epochs. Write 1 or 2."),
        (5, 4, "trainer.validate_every=5: the run has 4 epochs and would never be validated, so that no checkpoint is"),
        (0.25, 1, None),
        (1.0, 1, None),
        (4, 4, None),
    ],
)
def test_a_run_is_validated_at_least_once(every, epochs, sentence):
    found = broken({"trainer": {"validate_every": every, "epochs": epochs}})
    assert (found == []) if sentence is None else found[0].startswith(sentence)


def test_the_smallest_picture_is_not_larger_than_the_largest():
    (found,) = broken({"model": {"min_pixels": 9, "max_pixels": 4}})
    assert found == "model.min_pixels=9: is more than model.max_pixels=4. Write the smaller number first."


@pytest.mark.parametrize("name", ["a/b", "..", " "])
def test_a_name_that_is_no_folder_name_is_refused(name):
    assert broken({"run.name": name}) == [
        f"run.name='{name}': it becomes a folder's name, so it must not be empty and has no slashes."
    ]


SINGLE_FILE = Schema(name="Single", facts={"modalities": ("v",)})
PAIRED = Schema(name="Tiny", facts={"modalities": ("v",), "max_files": 2})


def test_a_table_with_more_files_a_record_than_the_model_takes_is_refused():
    pairs = {"data.path_column": ["first", "second"]}
    assert broken(pairs, model=SINGLE_FILE) == [
        "data.path_column=['first', 'second']: every record has 2 files, and Single takes 1. Name one column, or "
        "choose a model that takes more: no model in conf/model."
    ]
    assert broken(pairs, model=PAIRED) == []
    assert broken({"data.path_column": "first"}, model=SINGLE_FILE) == []
