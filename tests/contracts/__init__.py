"""Contracts that users can hold their own parts against; installed as `warmline.testing`.

```python
import pytest
import warmline.testing


@pytest.mark.parametrize("check", warmline.testing.POLICY_CHECKS)
async def test_my_policy(check: str) -> None:
    await warmline.testing.check_policy(MyPolicy, check)
```
"""

from .policy_contract import POLICY_CHECKS, NotApplicable, check_policy

__all__ = ["POLICY_CHECKS", "NotApplicable", "check_policy"]
