"""Holdfast keeps long-running AI agents alive around the clock. This module holds the version and nothing else."""

__version__ = "0.1.0"
