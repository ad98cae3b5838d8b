"""What a supervisor must offer to be measured, and the workload it is given.

A `Peer` knows how to launch one supervisor with services; `fleet.Fleet` does everything else the same way for all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

LOG_FILE_BYTES, LOG_FILES = 100_000_000, 5


@dataclass(frozen=True, slots=True)
class Service:
    """One service: `port` is set when it answers HTTP there. `settings`: more of holdfast.yaml, for Holdfast alone."""

    name: str
    argv: tuple[str, ...]
    port: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


class Peer(Protocol):
    """One supervisor. An object serves one launch at a time."""

    name: ClassVar[str]
    setting: ClassVar[str]  # how it is tuned, one clause for the results

    def version(self) -> str:
        """Version, after making sure that it can be used. Raises Unavailable with the reason."""

    def launch(self, directory: Path, services: list[Service], logs: Path | None) -> None:
        """Start the supervisor on these services; files go into `directory`. May return before they run.

        `logs`: keep what services print in files there, rotated at LOG_FILE_BYTES where the peer can; None: throw away.
        """

    def roots(self) -> list[int]:
        """Pids whose trees hold every process of the supervisor."""

    def relaunch(self) -> None:
        """Start the supervisor again on the same configuration, as its owner would after it died."""

    def status_argv(self) -> list[str | Path]:
        """The command that shows a person the state of all services. Raises Unavailable when there is none."""

    def end(self) -> None:
        """Ask it to leave, politely and bounded in time; what remains is killed by the caller."""

    def tidy(self) -> None:
        """Remove what it keeps outside its directory, after all its processes are gone."""
