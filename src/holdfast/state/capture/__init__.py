"""Taking a snapshot: what changed below the state paths, read as the agent, stored as ourselves."""
