"""The ladder: pure decisions on how an agent is brought back."""
