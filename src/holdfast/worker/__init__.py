"""Heavy work in a process of its own, so that the keeper's loop never waits for it."""
