"""What is kept, for how long and at what cost: schedule, retention, budget, trash, garbage collection."""
