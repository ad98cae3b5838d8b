"""guard, init and spawner: the processes that must not die. Standard library only; imports nothing of the rest."""
