"""A LangGraph agent that lives for ever: one turn after another, each step in a checkpoint, a beat after each turn.

After any death it goes on with the turn that was open (thread_id names it), not with a new one. Without OPENAI_BASE_URL
its "model" is a function, so that the example runs anywhere; with it, any OpenAI-compatible endpoint is asked.
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import time
import urllib.request
from pathlib import Path
from typing import Annotated, TypedDict

from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph

STATE = Path(os.environ.get("AGENT_STATE", "state"))
PAUSE_S = float(os.environ.get("AGENT_PAUSE_S", "5"))
MODEL_MAX_S = 120


def notify(*lines: str) -> None:
    """Tell Holdfast. Nothing happens where nobody listens."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto("\n".join(lines).encode(), path)
    except OSError:
        pass  # nobody listens at this moment, which is no reason to die


def newest(_: str, new: str) -> str:
    return new


class Turn(TypedDict):
    topic: str
    plan: Annotated[str, newest]
    answer: Annotated[str, newest]


def ask(prompt: str) -> str:
    base = os.environ.get("OPENAI_BASE_URL")
    if not base:
        return f"thought about: {prompt}"
    notify(f"X_BUSY_USEC={MODEL_MAX_S * 1_000_000}")  # a long call is work, not a hang
    body = {"model": os.environ.get("AGENT_MODEL", "default"), "messages": [{"role": "user", "content": prompt}]}
    request = urllib.request.Request(
        f"{base}/chat/completions",
        json.dumps(body).encode(),
        {"Content-Type": "application/json", "Authorization": f"Bearer {os.environ.get('OPENAI_API_KEY', '')}"},
    )
    with urllib.request.urlopen(request, timeout=MODEL_MAX_S) as answer:
        return str(json.load(answer)["choices"][0]["message"]["content"])


def plan(turn: Turn) -> dict[str, str]:
    return {"plan": ask(f"plan {turn['topic']}")}


def act(turn: Turn) -> dict[str, str]:
    return {"answer": ask(turn["plan"])}


def main() -> None:
    STATE.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(STATE / "checkpoints.sqlite", check_same_thread=False)
    database.execute("PRAGMA journal_mode=WAL")
    graph = StateGraph(Turn)
    graph.add_node("plan", plan)
    graph.add_node("act", act)
    graph.add_edge(START, "plan")
    graph.add_edge("plan", "act")
    graph.add_edge("act", END)
    app = graph.compile(checkpointer=SqliteSaver(database))

    counter = STATE / "turn"
    turn = int(counter.read_text()) if counter.exists() else 1
    notify("READY=1", "STATUS=turns begin")
    while True:
        config = {"configurable": {"thread_id": f"turn-{turn}"}}
        open_step = app.get_state(config).next  # not empty: a former life died inside this turn
        result = app.invoke(None if open_step else {"topic": f"topic {turn}", "plan": "", "answer": ""}, config)
        print(f"turn {turn}{' (resumed)' if open_step else ''}: {result['answer']}", flush=True)
        turn += 1
        new = counter.with_suffix(".new")
        new.write_text(str(turn))
        new.replace(counter)
        notify("WATCHDOG=1", f"X_CYCLE={turn}", f"STATUS=turn {turn}")
        time.sleep(PAUSE_S)


if __name__ == "__main__":
    main()
