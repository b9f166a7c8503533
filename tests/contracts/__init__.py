"""Contracts that users can hold their own parts against; installed as `warmline.testing`.

```python
import asyncio

import pytest
import warmline.testing


@pytest.mark.parametrize("check", warmline.testing.POLICY_CHECKS)
def test_my_policy(check: str) -> None:
    asyncio.run(warmline.testing.check_policy(MyPolicy, check))
```
"""

from .policy_contract import POLICY_CHECKS, NotApplicable, check_policy

__all__ = ["POLICY_CHECKS", "NotApplicable", "check_policy"]
