"""SQLite databases taken as they stand at one moment, while the agent goes on writing."""
