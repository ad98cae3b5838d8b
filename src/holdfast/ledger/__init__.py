"""The audit record: an append-only hash chain of decisions and their outcomes."""
