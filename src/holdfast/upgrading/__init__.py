"""Putting a newer Holdfast in the place of the running one, and back: releases, the switch, its journal."""
