"""Deliberate faults, and a scorecard of how they were caught and healed next to what is promised."""
