"""Real guard, init and agents for tests: started in throw-away homes, always ended by pid."""
