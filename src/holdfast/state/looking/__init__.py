"""Looking into snapshots without restoring: which one, what is in it, what differs."""
