"""How much memory the machine could still give: tests that need much skip where there is less."""

from __future__ import annotations

from holdfast.node.memory import NodeMemory


def available_bytes() -> int:
    """Of the whole machine; 0 when nothing tells."""
    reading = NodeMemory()
    try:
        told = reading.read()
    finally:
        reading.close()
    return told.available_bytes if told is not None else 0
