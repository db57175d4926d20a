"""Draw velocity models of one family each: one file for each family."""
