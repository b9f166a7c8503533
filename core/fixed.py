"""Fields that a settings record does not have, but that are accepted at the one value that holds.

A trainer without merging has no field `merge`. Files and commands that say `merge = false` say nothing
wrong, and earlier versions stored it; `merge = true` is refused, with the reason:

```python
class ClassifierSettings(FixedFields, LoopSettings):
    fixed: ClassVar[Fixed] = {"merge": (False, "heads are merged when they are loaded")}
```
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, model_validator

from .record import Record

Fixed = Mapping[str, tuple[Any, str]]
"""By field the one value that is accepted, and why another is refused."""


class FixedFields(Record):
    """Drops fixed fields from what is given, and refuses other values of them."""

    fixed: ClassVar[Fixed] = {}

    @model_validator(mode="before")
    @classmethod
    def _drop_fixed(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        known = fixed_fields(cls)
        problems = [
            f"{name}: {why}"
            for name, (value, why) in known.items()
            if name in data and _plain(data[name]) != _plain(value)
        ]
        if problems:
            raise ValueError("; ".join(problems))
        return {name: value for name, value in data.items() if name not in known}


def fixed_fields(model: type[BaseModel]) -> dict[str, tuple[Any, str]]:
    """The fixed fields of a record: its own and those of the records that it is made of."""
    found: dict[str, tuple[Any, str]] = {}
    for part in reversed(model.__mro__):
        found |= vars(part).get("fixed", {})
    return {name: value for name, value in found.items() if name not in model.model_fields}


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | tuple) else value
