"""Policies around a policy: they change how it is asked, and leave the rest to it.

```python
policy = make_policy("openai", model="m", wrap=["limit:requests_per_minute=500", "cache"])
```

`limit`, `budget` and `cache` leave the answers unchanged and are not part of a policy's identity;
`best_of`, `refine` and `fallback` change them and are part of it. The first named is the innermost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...core.lazy import lazy_names

if TYPE_CHECKING:
    from .base import Wrapper
    from .best_of import BestOf
    from .budget import Budget
    from .cache import Cache
    from .fallback import Fallback
    from .limit import Limit
    from .refine import Refine

_HOMES = {
    ".base": ("Wrapper",),
    ".best_of": ("BestOf",),
    ".budget": ("Budget",),
    ".cache": ("Cache",),
    ".fallback": ("Fallback",),
    ".limit": ("Limit",),
    ".refine": ("Refine",),
}

__all__ = ["BestOf", "Budget", "Cache", "Fallback", "Limit", "Refine", "Wrapper"]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
