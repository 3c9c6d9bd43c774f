"""The few rules across components; each is a function that yields sentences.

They read literal class attributes (`modalities`, `needs_logits`, ...) without importing the classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from omegaconf import DictConfig, ListConfig, OmegaConf

from evqa.config.environment import hidden
from evqa.config.metric_names import LOSS
from evqa.config.signature import Schema


@dataclass(frozen=True, kw_only=True)
class Design:
    """A configuration and what its classes say about themselves.

    schemas: of the nodes that build something, by path. alternatives: (group) -> schema of each option by name.
    """

    cfg: DictConfig
    schemas: Mapping[str, Schema]
    alternatives: Callable[[str], Mapping[str, Schema]]

    def value(self, key: str) -> object:
        """A value of the configuration, or None where it is absent or missing."""
        return OmegaConf.select(self.cfg, key, throw_on_missing=False)

    def fact(self, path: str, name: str, default: object = None) -> object:
        """A literal class attribute of the node's class."""
        schema = self.schemas.get(path)
        return default if schema is None else schema.facts.get(name, default)

    def options_with(self, group: str, test: Callable[[Mapping[str, object]], bool]) -> str:
        """The options of a group whose class passes a test, as 'model=a, model=b'."""
        able = [name for name, schema in self.alternatives(group).items() if test(schema.facts)]
        return ", ".join(f"{group}={name}" for name in able) or f"no {group} in conf/{group}"


def model_has_the_modality(design: Design) -> Iterator[str]:
    """`modal=av` needs a model with an audio encoder."""
    wanted = design.value("modal.name")
    offered = design.fact("model", "modalities")
    if isinstance(offered, tuple | list) and isinstance(wanted, str) and wanted not in offered:
        able = design.options_with("model", lambda facts: wanted in _names(facts.get("modalities")))
        yield (
            f"modal.name={wanted}: {design.schemas['model'].name} works with {_listed(offered)} only. "
            f"Choose modal={offered[0]}, or a model that can do '{wanted}': {able}."
        )


def head_gets_its_logits(design: Design) -> Iterator[str]:
    """Some heads read logits, which some models do not have."""
    if design.fact("head", "needs_logits") is True and design.fact("model", "generates", True) is False:
        heads = design.options_with("head", lambda facts: facts.get("needs_logits") is not True)
        models = design.options_with("model", lambda facts: facts.get("generates", True) is not False)
        yield (
            f"head: {design.schemas['head'].name} reads logits, and {design.schemas['model'].name} has none. "
            f"Choose a head that needs none ({heads}) or a model that has them ({models})."
        )


def model_takes_the_files(design: Design) -> Iterator[str]:
    """Some models take one file a record; a table may name more."""
    columns, most = design.value("data.path_column"), design.fact("model", "max_files", 1)
    if isinstance(columns, ListConfig) and isinstance(most, int) and len(columns) > most:
        able = design.options_with("model", lambda facts: _takes(facts, len(columns)))
        yield (
            f"data.path_column={list(columns)}: every record has {len(columns)} files, and "
            f"{design.schemas['model'].name} takes {most}. Name one column, or choose a model that takes more: {able}."
        )


def _takes(facts: Mapping[str, object], num_files: int) -> bool:
    most = facts.get("max_files", 1)
    return isinstance(most, int) and most >= num_files


def dropout_has_two_modalities(design: Design) -> Iterator[str]:
    """Leaving out one of one leaves nothing."""
    dropout, name = design.value("modal.dropout"), design.value("modal.name")
    if isinstance(dropout, int | float) and dropout > 0 and name in ("a", "v"):
        yield (
            f"modal.dropout={dropout}: it leaves out picture or sound at random, and modal.name={name} has only one "
            "of them. Write modal=av or modal.dropout=0."
        )


def names_are_folder_names(design: Design) -> Iterator[str]:
    """The experiment and the run's name become folders."""
    for key in ("run.experiment", "run.name"):
        name = design.value(key)
        if isinstance(name, str) and (not name.strip() or name in (".", "..") or "/" in name or "\\" in name):
            yield f"{key}='{name}': it becomes a folder's name, so it must not be empty and has no slashes."


def loss_has_pairs(design: Design) -> Iterator[str]:
    """Correlation and order need two items: batches of one would train nothing."""
    batch_size = design.value("data.batch_size")
    learns_words = design.fact("head", "takes_loss", True) is False or design.value("head.train") == "words"
    if batch_size != 1 or learns_words or not _needs_pairs(design, "loss"):
        return
    yield (
        f"data.batch_size=1: {design.schemas['loss'].name} compares the items of a batch, and one item trains nothing. "
        "Write data.batch_size=2 or more, or choose a loss of single items (loss=mse)."
    )


def _needs_pairs(design: Design, path: str) -> bool:
    """Whether nothing in a loss, or in the terms of a sum, says anything about one item."""
    terms, weights = design.value(f"{path}.terms"), design.value(f"{path}.weights")
    if not isinstance(terms, ListConfig) or not isinstance(weights, ListConfig):
        return design.fact(path, "needs_pairs") is True
    used = [place for place, weight in enumerate(weights) if place < len(terms) and weight]
    return bool(used) and all(_needs_pairs(design, f"{path}.terms.{place}") for place in used)


def validation_takes_place(design: Design) -> Iterator[str]:
    """Validation is after a share of an epoch or after whole ones, and at least once in a run."""
    every, epochs = design.value("trainer.validate_every"), design.value("trainer.epochs")
    if not isinstance(every, int | float) or not isinstance(epochs, int):
        return
    if every > 1 and every != int(every):
        yield f"trainer.validate_every={every}: above 1 it counts whole epochs. Write {int(every)} or {int(every) + 1}."
    elif every > epochs > 0:
        yield (
            f"trainer.validate_every={every}: the run has {epochs} epoch{'s' if epochs > 1 else ''} and would never be "
            f"validated, so that no checkpoint is the best. Write trainer.validate_every={epochs} or less."
        )


def monitored_metric_is_logged(design: Design) -> Iterator[str]:
    """Scores are compared with labels; a head without scores is validated by its loss alone."""
    gives_scores = design.fact("head", "gives_scores", True) is not False
    for callback in ("checkpoints", "early_stopping", "pruning"):
        key = f"callbacks.{callback}.monitor"
        monitor = design.value(key)
        if not isinstance(monitor, str) or (monitor == LOSS) != gives_scores:
            continue
        name = design.schemas["head"].name
        if gives_scores:
            yield f"{key}={monitor}: {name} is validated by its scores. Write {key}=val/challenge."
        else:
            yield (
                f"{key}={monitor}: {name} gives no scores and is validated by its loss. Write {key}={LOSS}"
                f"{' (or callbacks=loss)' if callback == 'checkpoints' else ''}."
            )


def pixels_have_a_range(design: Design) -> Iterator[str]:
    """A frame cannot be larger than the largest and smaller than the smallest."""
    low, high = design.value("model.min_pixels"), design.value("model.max_pixels")
    if isinstance(low, int) and isinstance(high, int) and low > high:
        yield f"model.min_pixels={low}: is more than model.max_pixels={high}. Write the smaller number first."


def shards_are_whole_weights(design: Design) -> Iterator[str]:
    """Adapters of float32 cannot be sharded with weights of another type, nor can 4-bit ones."""
    if design.value("trainer.strategy") != "fsdp":
        return
    if design.value("lora.method") in ("lora", "qlora"):
        yield (
            "trainer.strategy=fsdp: shards the weights of a full fine-tuning, and no adapters. Choose lora=none, or "
            "trainer=ddp, with which adapters fit on every GPU that holds the model."
        )
    if design.value("trainer.precision") == "bf16-true":
        yield (
            "trainer.precision=bf16-true: with trainer.strategy=fsdp the weights have the type model.dtype. Write "
            "trainer.precision=bf16."
        )


RULES: tuple[Callable[[Design], Iterator[str]], ...] = (
    model_has_the_modality,
    head_gets_its_logits,
    model_takes_the_files,
    dropout_has_two_modalities,
    pixels_have_a_range,
)

TRAINING_RULES = (
    loss_has_pairs,
    monitored_metric_is_logged,
    validation_takes_place,
    names_are_folder_names,
    shards_are_whole_weights,
)


def broken_rules(design: Design, *, training: bool = True) -> list[str]:
    """Apply all rules; those of a training do not matter to what only scores."""
    rules = (*RULES, *(TRAINING_RULES if training else ()))
    return [hidden(sentence) for rule in rules for sentence in rule(design)]


def _names(value: object) -> tuple[object, ...]:
    return tuple(value) if isinstance(value, tuple | list) else ("a", "v", "av")


def _listed(names: tuple[object, ...] | list[object]) -> str:
    return " or ".join(f"'{name}'" for name in names)
