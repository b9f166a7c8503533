"""Review by experts: the store, the terminal, agreement, and the rule that follows."""
