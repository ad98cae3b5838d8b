"""Taking over an agent's existing installation in place, and giving it back: discover, plan, apply, undo."""
