import pytest

from evqa.config.kinds import Choice, Component, DictOf, ListOf, OneOf, Plain, Ranged, TupleOf
from evqa.config.signature import UnknownTargetError, read_schema


def test_keyword_only_parameters_are_the_schema_and_positional_ones_are_not(module):
    name = module("""
        class Head:
            def __init__(self, width: int, *, dropout: float = 0.1, hidden: int) -> None: ...
    """)
    schema = read_schema(f"{name}.Head")
    assert set(schema.parameters) == {"dropout", "hidden"}
    assert schema.parameters["hidden"].required
    assert not schema.parameters["dropout"].required


def test_dataclass_fields_are_read_with_those_of_their_bases(module):
    name = module("""
        from dataclasses import dataclass, field
        from typing import ClassVar
        @dataclass(frozen=True, kw_only=True)
        class Base:
            size: int
            names: list[str] = field(default_factory=list)
            known: ClassVar[int] = 3
        @dataclass(frozen=True, kw_only=True)
        class Child(Base):
            size: int = 4
            cache: dict = field(init=False)
    """)
    schema = read_schema(f"{name}.Child")
    assert set(schema.parameters) == {"size", "names"}
    assert not schema.parameters["size"].required
    assert schema.facts["known"] == 3
    assert schema.lineage == ("Child", "Base")


def test_a_class_without_its_own_constructor_has_that_of_its_base_in_another_module(module):
    base = module("""
        class Base:
            modalities = ("v",)
            generates = True
            def __init__(self, *, size: int = 1) -> None: ...
    """)
    name = module(f"""
        from {base} import Base as Parent
        class Child(Parent):
            generates: bool = False
    """)
    schema = read_schema(f"{name}.Child")
    assert set(schema.parameters) == {"size"}
    assert schema.facts == {"modalities": ("v",), "generates": False}


def test_annotations_are_read_without_evaluating_anything(module):
    other = module('Precision = Literal["32", "bf16"]')
    name = module(f"""
        from typing import Annotated, Any, Literal, Optional
        from pathlib import Path
        from {other} import Precision
        class Resize: ...
        class Thing:
            def __init__(self, *, a: int | None, b: Literal["x", 1], c: list[float], d: tuple[float, int],
                         e: dict[str, bool], f: "Resize", g: Precision, h: Annotated[float, "0 <= x < 1"],
                         i: tuple[str, ...], j: Path, k: Optional[str], m: print("never")) -> None: ...
    """)
    kinds = {key: parameter.kind for key, parameter in read_schema(f"{name}.Thing").parameters.items()}
    assert kinds == {
        "a": OneOf((Plain("int"), Plain("None"))),
        "b": Choice(("x", 1)),
        "c": ListOf(Plain("float")),
        "d": TupleOf((Plain("float"), Plain("int"))),
        "e": DictOf(Plain("bool")),
        "f": Component("Resize"),
        "g": Choice(("32", "bf16")),
        "h": Ranged(Plain("float"), "0 <= x < 1"),
        "i": ListOf(Plain("str")),
        "j": Plain("Any"),
        "k": OneOf((Plain("str"), Plain("None"))),
        "m": Plain("Any"),
    }


def test_an_unknown_class_or_module_is_named_with_the_nearest(module):
    name = module("class RegressionHead: ...")
    with pytest.raises(UnknownTargetError, match=rf"^{name} has no 'RegresionHead'. Did you mean 'RegressionHead'\?$"):
        read_schema(f"{name}.RegresionHead")
    with pytest.raises(UnknownTargetError, match=r"^there is no module 'evqa.nowhere'.$"):
        read_schema("evqa.nowhere.Thing")


def test_classes_of_other_packages_take_any_of_their_arguments_and_need_none():
    schema = read_schema("logging.handlers.RotatingFileHandler")
    assert "filename" in schema.parameters
    assert not schema.parameters["filename"].required


@pytest.mark.parametrize(
    ("kind", "value", "sentence"),
    [
        (Plain("int"), "eight", "expected int, got 'eight'."),
        (Plain("int"), True, "expected int, got true."),
        (Plain("float"), 1, None),
        (Plain("str"), 7, "expected str, got 7. Quote what is meant as text: '\"7\"'."),
        (OneOf((Plain("int"), Plain("None"))), "x", "expected int or null, got 'x'."),
        (OneOf((Plain("int"), Plain("str"))), None, "expected int or str, got null."),
        (
            Choice(("uniform", "fps")),
            "unifrm",
            "expected one of 'uniform', 'fps', got 'unifrm'. Did you mean 'uniform'?",
        ),
        (Choice((1,)), True, "expected one of 1, got true."),
        (Ranged(Plain("float"), "0 <= x < 1"), 1.0, "expected float with 0 <= x < 1, got 1.0."),
        (Ranged(Plain("float"), "0 <= x < 1"), 0, None),
        (ListOf(Plain("int")), 3, "expected list[int], got 3. Write a list as [a,b]."),
        (ListOf(Plain("int")), [1, "b"], "at '1': expected int, got 'b'."),
        (TupleOf((Plain("int"), Plain("int"))), [1], "expected list of 2 values (int, int), got [1]."),
        (DictOf(Plain("float")), {"head": "x"}, "at 'head': expected float, got 'x'."),
        (Component("Resize"), {"size": 3}, "expected a Resize (a node with _target_), got the keys size."),
        (Component("Resize"), {"_target_": "evqa.x.Resize"}, None),
    ],
)
def test_a_value_that_does_not_fit_is_told_with_what_was_expected(kind, value, sentence):
    assert kind.misfit(value) == sentence
