"""Telling a person: command, webhook and push hooks."""
