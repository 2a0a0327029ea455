"""A callback arrives: guard it, keep it with what it says, in one group commit."""
