"""From the first bad observation to validated recovery or alert, and the post-mortem of it."""
