"""One entry of the catalogue of errors, the one exception users meet, and the catalogue itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """One entry of the catalogue. `summary` may hold {placeholders}; `next_step` is a command or an act."""

    code: str
    name: str
    summary: str
    next_step: str
    exit_code: int = 1


class HoldfastError(Exception):
    """The one exception users meet. `detail` fills the kind's placeholders."""

    def __init__(self, kind: ErrorKind, **detail: object) -> None:
        self.kind = kind
        self.detail = detail
        super().__init__(self.summary)

    @property
    def summary(self) -> str:
        return self.kind.summary.format_map(_Blanks(self.detail))

    @property
    def next_step(self) -> str:
        return self.kind.next_step.format_map(_Blanks(self.detail))

    @property
    def exit_code(self) -> int:
        return self.kind.exit_code

    def as_dict(self) -> dict[str, str]:
        """The shape used by the API and by --json: code, name, message, next."""
        return {
            "code": self.kind.code,
            "name": self.kind.name,
            "message": self.summary,
            "next": self.next_step,
        }


class _Blanks(dict[str, object]):
    def __missing__(self, key: str) -> str:
        return f"<{key}>"


CATALOGUE: dict[str, ErrorKind] = {}


def entry(code: str, name: str, summary: str, next_step: str, exit_code: int = 1) -> ErrorKind:
    made = ErrorKind(code, name, summary, next_step, exit_code)
    if code in CATALOGUE:
        raise AssertionError(f"error code {code} is given twice")
    CATALOGUE[code] = made
    return made
