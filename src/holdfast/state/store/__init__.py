"""One agent's repository: immutable objects, their format on disk, who may write, and what they mean together."""
