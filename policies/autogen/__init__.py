"""Any AutoGen model client as a policy."""
