"""Our rows are the truth: how databases are opened, and the statements on our tables."""
