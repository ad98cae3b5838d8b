"""Which values are secrets, by their names, and how they are shown: never.

Invariant: a name with one of the secret words, a value from an env file, and a URL with a password inside are
masked wherever a specification is shown. Called by the resolver, by `--explain` and for lines quoted in messages.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

MASK = "***"
# TOKENS is left out on purpose: MAX_TOKENS and the like are settings.
_WORDS = frozenset(
    (
        "KEY",
        "KEYS",
        "APIKEY",
        "TOKEN",
        "SECRET",
        "SECRETS",
        "PASSWORD",
        "PASSWD",
        "PASSPHRASE",
        "CREDENTIAL",
        "CREDENTIALS",
    )
)
_URL_PASSWORD = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/\s:@]*:[^/\s@]+@")
_ASSIGNMENT = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_-]*)[\"']?\s*[:=]\s*(?=\S)")


def is_secret(name: str, value: str = "") -> bool:
    """Whether `name` holds a secret word as a whole part (API_KEY, dbPassword), or `value` is a URL with a password."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    if any(part in _WORDS for part in re.split(r"[^A-Za-z0-9]+", spaced.upper())):
        return True
    return _URL_PASSWORD.search(value) is not None


def secret_names(env: Mapping[str, str]) -> tuple[str, ...]:
    """The names in `env` whose values must be masked, sorted."""
    return tuple(sorted(name for name, value in env.items() if is_secret(name, value)))


def mask_url(url: str) -> str:
    """A URL as it may be shown: without its password."""
    return _URL_PASSWORD.sub(lambda match: match[0].partition("://")[0] + "://" + MASK + "@", url)


def mask_line(line: str) -> str:
    """A line of a file as it may be quoted in a message: cut after the first name that looks secret."""
    for match in _ASSIGNMENT.finditer(line):
        if is_secret(match["name"]):
            return line[: match.end()] + MASK
    return _URL_PASSWORD.sub(MASK + "@", line)
