"""Frozen dataclasses that are made sooner are what they were."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from dataclasses import dataclass, field

import pytest

from warmline.core.record import quick


@quick
@dataclass(frozen=True, slots=True)
class Quick:
    """One with all that the hot ones have."""

    name: str
    count: int = 1
    kept: str | None = field(default=None, init=False, compare=False)
    note: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Plain:
    name: str
    count: int = 1
    kept: str | None = field(default=None, init=False, compare=False)
    note: str = field(default="", repr=False)


@pytest.mark.parametrize(
    ("given", "named"), [(("a",), {}), (("a", 2, "n"), {}), ((), {"note": "n", "name": "a"})]
)
def test_it_holds_what_a_plain_one_holds(given: tuple[str, ...], named: dict[str, str]) -> None:
    made, plain = Quick(*given, **named), Plain(*given, **named)  # type: ignore[arg-type]
    assert dataclasses.asdict(made) == dataclasses.asdict(plain)
    assert repr(made) == repr(plain).replace("Plain", "Quick")
    for again in (pickle.loads(pickle.dumps(made)), copy.deepcopy(made), dataclasses.replace(made)):
        assert again == made
        assert hash(again) == hash(made)


def test_it_is_called_and_refuses_as_before() -> None:
    assert inspect.signature(Quick) == inspect.signature(Plain)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'name'"):
        Quick()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected keyword argument 'kept'"):
        Quick("a", kept="b")  # type: ignore[call-arg]
    with pytest.raises(dataclasses.FrozenInstanceError):
        Quick("a").name = "b"  # type: ignore[misc]


def test_one_that_does_more_is_refused() -> None:
    @dataclass(frozen=True, slots=True)
    class Made:
        names: list[str] = field(default_factory=list)

    @dataclass(frozen=True, slots=True)
    class Checked:
        name: str = ""

        def __post_init__(self) -> None:
            raise ValueError

    for cls in (Made, Checked):
        with pytest.raises(TypeError, match=f"{cls.__name__} does more"):
            quick(cls)
