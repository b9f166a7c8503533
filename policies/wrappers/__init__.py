"""Policies around a policy: they change how it is asked, and leave the rest to it.

```python
policy = make_policy("openai", model="m", wrap=["limit:requests_per_minute=500", "cache"])
```

`limit`, `budget` and `cache` leave the answers as they are and are no part of a policy's identity;
`best_of`, `refine` and `fallback` change them and are. The first named is the innermost.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .base import Wrapper
    from .best_of import BestOf
    from .budget import Budget
    from .cache import Cache
    from .fallback import Fallback
    from .limit import Limit
    from .refine import Refine

_LATE = {
    "BestOf": "best_of",
    "Budget": "budget",
    "Cache": "cache",
    "Fallback": "fallback",
    "Limit": "limit",
    "Refine": "refine",
    "Wrapper": "base",
}

__all__ = ["BestOf", "Budget", "Cache", "Fallback", "Limit", "Refine", "Wrapper"]


def __getattr__(name: str) -> Any:
    if (module := _LATE.get(name)) is None:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f".{module}", __name__), name)
