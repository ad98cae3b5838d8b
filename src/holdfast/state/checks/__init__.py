"""Whether snapshots can be restored and what they hold can be started with."""
