"""Is this answer the agent's own and good? Pure rules from an HTTP answer to a verdict.

HTTP 200 alone proves nothing: a single-page application answers every path with an HTML page, and after a port clash
another process answers in the agent's place. Called by the probe engine for every complete answer.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import msgspec

from holdfast import limits
from holdfast.health.answer import Answer
from holdfast.health.model import Verdict
from holdfast.spec.model import HttpProbe

_MISSING = object()
_decode = msgspec.json.decode


def judge(probe: HttpProbe, answer: Answer, age_s: float) -> tuple[Verdict, str]:
    """Verdict and one clause in words. `age_s`: seconds since the instance was spawned, when the answer came."""
    status = answer.status
    asks_nothing = not probe.expect and probe.age_field is None
    if status != 200 and not (asks_nothing and 200 < status < 300):
        return Verdict.FAILING, f"HTTP {status}" + (", and redirects are not followed" if 300 <= status < 400 else "")
    if answer.content_type in (b"text/html", b"application/xhtml+xml") and not (asks_nothing and _is_page(probe.url)):
        return Verdict.FAILING, "HTTP 200 with an HTML page, which is no health answer"
    if asks_nothing:
        return Verdict.OK, ""
    try:
        body = _decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Verdict.FAILING, "HTTP 200 with a body that is not JSON"
    for name, wanted in probe.expect.items():
        found = pick(body, name)
        if not _same(found, wanted):
            return Verdict.FAILING, f"{name} is {_shown(found)}, expected {_shown(wanted)}"
    if probe.age_field is not None:
        return _judge_age(pick(body, probe.age_field), probe, age_s)
    return Verdict.OK, ""


def _is_page(url: str) -> bool:
    """Whether HTML is what one gets there rightly: a site's front page or a page by name."""
    path = urlsplit(url).path
    return path in ("", "/") or path.endswith((".html", ".htm"))


def _judge_age(found: Any, probe: HttpProbe, age_s: float) -> tuple[Verdict, str]:
    if isinstance(found, bool) or not isinstance(found, int | float):
        return Verdict.FAILING, f"{probe.age_field} is {_shown(found)}, expected the server's age"
    claimed_s = found * probe.age_unit_s
    if claimed_s > age_s + limits.PROBE_AGE_SLACK_S:
        return Verdict.FOREIGN, f"the answering server is {claimed_s:.0f} s old, this instance {age_s:.0f} s"
    return Verdict.OK, ""


def pick(body: Any, dotted: str) -> Any:
    """Value at a dotted path; list items by number; a sentinel (never equal to anything) when absent."""
    value = body
    for step in dotted.split("."):
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return _MISSING
    return value


def _same(found: Any, wanted: str | int | float | bool) -> bool:
    """Equal in JSON's sense: true is not 1."""
    return isinstance(found, bool) == isinstance(wanted, bool) and bool(found == wanted)


def _shown(value: Any) -> str:
    if value is _MISSING:
        return "absent"
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 60 else text[:57] + "..."
