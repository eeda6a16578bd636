"""Clean what was heard, cut what is said. Pure."""
