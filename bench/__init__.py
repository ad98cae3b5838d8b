"""Measurements of Holdfast beside other supervisors. Run with `python -m bench`; results are in RESULTS.md."""
