"""The README's tour, read and executed word for word."""
