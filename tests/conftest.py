"""Property tests draw the same examples in each run; `make fuzz` draws new ones.

`HYPOTHESIS_PROFILE` chooses: `fixed` (the default: `make test` and CI must not fail by chance) or
`fuzz`.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile("fixed", derandomize=True, deadline=None, max_examples=60, database=None)
settings.register_profile(
    "fuzz",
    deadline=None,
    max_examples=3000,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))
