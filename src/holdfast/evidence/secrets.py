"""Secrets out of texts: known values, and whatever looks like a key. Pure.

Invariant: what comes out holds neither a known secret value nor anything shaped like a credential, whatever the text
was (command line, log line, stack line, status text). Called on all evidence before it is kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from holdfast import limits
from holdfast.spec.masking import MASK, is_secret

_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)
_KEY_BEGINS = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_KEY_ENDS = re.compile(r"-----END [A-Z ]*PRIVATE KEY-----")
_USERINFO = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)[^/\s@\"']+@")
_HEADER = re.compile(r"(?i)\b(?P<word>bearer|basic)\s+(?:[A-Za-z0-9._~+/-]{6,}=*)")
_SHAPES = re.compile(
    r"\b(?:"
    r"sk-[A-Za-z0-9_-]{8,}"
    r"|(?:AKIA|ASIA)[0-9A-Z]{12,}"
    r"|gh[pousr]_[A-Za-z0-9]{10,}"
    r"|github_pat_[A-Za-z0-9_]{10,}"
    r"|glpat-[A-Za-z0-9_-]{10,}"
    r"|xox[abeoprs]-[A-Za-z0-9-]{6,}"
    r"|xapp-[A-Za-z0-9-]{6,}"
    r"|AIza[A-Za-z0-9_-]{20,}"
    r"|hf_[A-Za-z0-9]{10,}"
    r"|npm_[A-Za-z0-9]{10,}"
    r"|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]*"
    r")"
)
_ASSIGNED = re.compile(
    r"(?P<name>[A-Za-z_][A-Za-z0-9_-]*)(?P<between>[\"']?\s*[:=]\s*)"
    r"(?P<value>\"(?:[^\"\\]|\\.)*\"?|'(?:[^'\\]|\\.)*'?|[^\s\"',;&)}\]]+)"
)
_SHORT_SECRET_OPTIONS = frozenset({"-p", "-u", "-H"})  # curl -u, mysql -p, curl -H "Authorization: …"
_NO_SECRET_ENDINGS = ("Error", "Exception", "Warning")  # KeyError: 'name' is the reason, not a key
_OPTION = re.compile(r"--?(?P<name>[A-Za-z][A-Za-z0-9_-]*)")


def mask(text: str, values: Iterable[str] = ()) -> str:
    """The text without secrets. `values`: the agent's own secret values; too short ones are left, see limits."""
    for value in sorted(values, key=len, reverse=True):
        if len(value) >= limits.SECRET_MASKED_MIN_CHARS:
            text = text.replace(value, MASK)
    if "PRIVATE KEY" in text:
        text = _PRIVATE_KEY.sub(MASK, text)
    if "://" in text:
        text = _USERINFO.sub(lambda found: f"{found['scheme']}{MASK}@", text)
    text = _HEADER.sub(lambda found: f"{found['word']} {MASK}", text)
    text = _SHAPES.sub(MASK, text)
    return _ASSIGNED.sub(_assigned, text) if "=" in text or ":" in text else text


def _assigned(found: re.Match[str]) -> str:
    name = found["name"]
    if name.endswith(_NO_SECRET_ENDINGS) or not is_secret(name) or found["value"].lower() in ("bearer", "basic"):
        return found[0]
    return f"{found['name']}{found['between']}{MASK}"


def mask_lines(lines: Sequence[str], values: Iterable[str] = ()) -> list[str]:
    """Lines of a log. A private key printed over several of them is one secret."""
    known, shown, inside = tuple(values), [], False
    for line in lines:
        begins = _KEY_BEGINS.search(line)
        if inside or begins:
            ends = _KEY_ENDS.search(line, begins.end() if begins else 0)
            inside = ends is None
            before = mask(line[: begins.start()], known) if begins else ""
            shown.append(before + MASK + (mask(line[ends.end() :], known) if ends else ""))
        else:
            shown.append(mask(line, known))
    return shown


def mask_command(words: Sequence[str], values: Iterable[str] = ()) -> list[str]:
    """A command line: `--token X` and `-p X` hide the next word."""
    known, shown, hide_next = tuple(values), [], False
    for word in words:
        option = _OPTION.fullmatch(word)
        if hide_next and not word.startswith("--"):
            shown.append(MASK)
            hide_next = False
            continue
        shown.append(mask(word, known))
        hide_next = option is not None and is_secret(option["name"])
        hide_next = hide_next or word in _SHORT_SECRET_OPTIONS
    return shown


def mask_all(value: Any, values: Iterable[str] = ()) -> Any:
    """Any JSON value with every text in it masked; keys of objects are names and stay."""
    known = tuple(values)
    match value:
        case str():
            return mask(value, known)
        case dict():
            return {key: mask_all(item, known) for key, item in value.items()}
        case list() | tuple():
            return [mask_all(item, known) for item in value]
    return value
