"""Putting a snapshot back: built aside, exchanged whole, finished or undone after any kill."""
