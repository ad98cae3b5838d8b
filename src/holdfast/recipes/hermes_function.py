"""Asks a running Hermes gateway how it works: its detailed health, its scheduler, and whether its turns succeed.

Run by the keeper's prober as the agent's user: `python -I -S -c THIS PORT HERMES_HOME`. The key is read from
the gateway's own .env or environment and never leaves this process. Prints one JSON line
{"judgement", "detail", "facts"}. Invariant: it never says failing. What it finds (a provider that is down, a broken
configuration, a full disk, a damaged database) is still there after a restart, and the restart would cost the turns
that work; a stuck event loop, which a restart does heal, is seen by /health and by the heartbeat file.
Hermes answers HTTP 200 and /health stays ok while every turn fails, so turns are counted in its own log.
Standard library only, so that any Python the agent's user can run will do.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import sys
import time
from typing import Any

TIMEOUT_S = 10.0  # 12 ms idle
BODY_MAX_BYTES = 262_144
LOG_TAIL_BYTES = 262_144  # some hundred turns
TURNS_WINDOW_S = 1800.0  # a failure longer ago says nothing of now
FAILED_TURNS_MIN = 2  # one turn may have been broken by itself
TICKER_LATE_S = 600.0  # its scheduler ticks every 60 s
_LINE = re.compile(
    r"^(?P<at>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),\d+ \w+ .*?"
    r"(?:(?P<failed>(?:API call failed|Invalid API response|API failed|Rate limited) after \d+ retries[.:]?"
    r"\s*(?P<why>[^|]*))|(?P<good>API call #\d+: model=))"
)
Told = tuple[str, str, dict[str, Any]]  # judgement, detail, facts


# --- judging: pure -----------------------------------------------------------------------------------------------
def judge(health: dict[str, Any], turns: tuple[int, str], ticker_age_s: float | None) -> Told:
    """What was found means. `turns`: failed ones since the last good one, and why; `ticker_age_s`: since it ticked."""
    checks = health.get("readiness", {}).get("checks", {}) if isinstance(health.get("readiness"), dict) else {}
    checks = checks if isinstance(checks, dict) else {}
    checks = {name: one for name, one in checks.items() if isinstance(one, dict)}
    bad = [_check_words(name, one) for name, one in checks.items() if one.get("status") != "ok"]
    platforms = health.get("platforms")
    down = [
        f"platform {name} is {one.get('state')}"
        for name, one in (platforms.items() if isinstance(platforms, dict) else ())
        if isinstance(one, dict) and one.get("state") not in ("connected", "connecting", "disabled")
    ]
    failed, why = turns
    queues = checks.get("background_queues", {})
    facts = {
        "version": health.get("version", ""),
        "gateway_state": health.get("gateway_state", ""),
        "checks": {name: one.get("status") for name, one in checks.items()},
        "active_runs": queues.get("active_api_runs"),
        "failed_turns": failed,
        "scheduler_age_s": None if ticker_age_s is None else round(ticker_age_s, 1),
    }
    said = bad + down
    if failed >= FAILED_TURNS_MIN:
        said.append(f"the last {failed} turns failed: {why}")
    if ticker_age_s is not None and ticker_age_s > TICKER_LATE_S:
        said.append(f"its scheduler has not ticked for {ticker_age_s / 60:.0f} min")
    return ("degraded", "; ".join(said), facts) if said else ("ok", "", facts)


def _check_words(name: str, check: dict[str, Any]) -> str:
    reason = check.get("error") or check.get("reason") or check.get("detail") or check.get("message") or ""
    return f"{name} is {check.get('status')}" + (f" ({str(reason)[:80]})" if reason else "")


def failed_turns(log: str, now_at: float) -> tuple[int, str]:
    """Turns that failed after the last one that succeeded, as its log tells; and the reason of the newest."""
    failed, why = 0, ""
    for line in log.splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        if match["good"]:
            failed, why = 0, ""
        elif now_at - _local(match["at"]) <= TURNS_WINDOW_S:
            failed, why = failed + 1, (match["why"] or "").strip()[:120] or "no reason given"
    return failed, why


def _local(text: str) -> float:
    """Its log is in local time."""
    try:
        return time.mktime(time.strptime(text, "%Y-%m-%d %H:%M:%S"))
    except (ValueError, OverflowError):
        return 0.0


# --- looking -----------------------------------------------------------------------------------------------------
def key_of(home: str, env: dict[str, str]) -> str:
    """Its API key: its own .env wins, as it does for Hermes."""
    try:
        with open(os.path.join(home, ".env"), encoding="utf-8", errors="replace") as file:
            for line in file.read(1_048_576).splitlines():
                name, equals, value = line.strip().removeprefix("export ").partition("=")
                if equals and name.strip() == "API_SERVER_KEY":
                    return value.strip().strip("'\"")
    except (OSError, ValueError):
        pass
    return env.get("API_SERVER_KEY", "")


def tail(path: str) -> str:
    """The end of a log; "" when there is none."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - LOG_TAIL_BYTES))
            return file.read(LOG_TAIL_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""


def age_s(path: str, now_at: float) -> float | None:
    try:
        return max(0.0, now_at - os.stat(path).st_mtime)
    except OSError:
        return None


def look(port: int, home: str, env: dict[str, str], now_at: float) -> Told:
    """Everything, as one judgement. Never raises for what may be wrong with a gateway."""
    turns = failed_turns(tail(os.path.join(home, "logs", "agent.log")), now_at)
    ticker = age_s(os.path.join(home, "cron", "ticker_heartbeat"), now_at)
    key = key_of(home, env)
    if not key:
        return _alone("it has no API_SERVER_KEY that can be read", turns)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/health/detailed", headers={"Authorization": f"Bearer {key}"})
        answer = connection.getresponse()
        body = answer.read(BODY_MAX_BYTES)
        if answer.status != 200:
            return _alone(f"its detailed health answers HTTP {answer.status}", turns)
        health = json.loads(body)
    except TimeoutError:
        return "degraded", f"its detailed health did not answer in {TIMEOUT_S:.0f} s", {}
    except (OSError, ValueError, http.client.HTTPException) as error:
        return _alone(f"its detailed health cannot be asked: {getattr(error, 'strerror', None) or error}", turns)
    finally:
        connection.close()
    return judge(health if isinstance(health, dict) else {}, turns, ticker)


def _alone(reason: str, turns: tuple[int, str]) -> Told:
    """What is known when it cannot be asked: only how its turns went."""
    judgement, detail, facts = judge({}, turns, None)
    return (judgement, f"{detail}; {reason}", facts) if detail else ("unknown", reason, facts)


def main(arguments: list[str]) -> int:
    judgement, detail, facts = look(int(arguments[0]), arguments[1], dict(os.environ), time.time())
    print(json.dumps({"judgement": judgement, "detail": detail, "facts": facts}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
