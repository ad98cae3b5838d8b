"""Searching logs: `holdfast logs AGENT --grep REGEX` over rotated and compressed files, as MB of log text a second.

The text is made of varied lines (times, ids, levels, messages), cut into five files as the logger rotates them and
compressed by Holdfast's own code. Peers search the same archives (zstdgrep, rg -z: they are plain zstd) or the same
text as gzip (zgrep). All take turns, whole commands are timed, every file is in the page cache, and all must find as
many lines. Each expression has few hits: what is measured is searching, not printing.
"""

from __future__ import annotations

import os
import random
import shutil
import time
from pathlib import Path
from typing import NamedTuple

from bench import install, processes, samples
from bench.context import Context, Goal, Result, Section, best_peer
from bench.peers.holdfast import Holdfast

NAME = "logsearch"
TITLE = "Searching compressed logs"
FILES, FILE_BYTES = 5, 100_000_000
FILES_QUICK, FILE_BYTES_QUICK = 2, 20_000_000
BLOCK_BYTES = 4_000_000  # of varied text; blocks are repeated with another number in front of each line
ROUNDS = 5
COMMAND_TIMEOUT_S = 120.0
GOAL_MB_S = 200.0
AGENT = "talker"


class Expression(NamedTuple):
    """`pattern` in what Python's re and grep -E have in common."""

    key: str
    words: str
    pattern: str


EXPRESSIONS = (
    Expression("literal", "a word", "needle-in-the-hay"),
    Expression("with_literal", "an expression that holds a word", "status=5[0-9]+ .*needle-[a-z]+"),
    Expression("without_literal", "an expression without one", "[a-f]{3}[0-9]{5}[xyz]{2}[0-9]"),
    Expression("alternatives", "alternatives", "needle-in|pin-in-the|never-there"),
)
WORDS = (
    "request accepted from client",
    "tool call finished with",
    "message delivered to channel",
    "cache refreshed after",
    "model answered within budget",
    "connection reset by peer while reading",
    "retrying in a moment because of",
    "session resumed at step",
)


def run(context: Context) -> Result:
    """{"bytes", "packed_bytes", "found": {key: {tool: lines}}, "seconds": {key: {tool: [...]}}, "missing": {...}}."""
    place = context.place / "search"
    files, size = (FILES_QUICK, FILE_BYTES_QUICK) if context.quick else (FILES, FILE_BYTES)
    peer = Holdfast()
    peer.version()
    logs = place / "home/logs" / AGENT
    logs.mkdir(parents=True)
    total, packed, gzipped = _write_logs(logs, place / "gz", files, size)
    result: Result = {"bytes": total, "packed_bytes": packed, "gzip_bytes": gzipped, "found": {}, "seconds": {}}
    tools, result["missing"] = _tools(peer, place)
    try:
        for turn in range(ROUNDS + 1):
            for expression in EXPRESSIONS:
                for tool, argv in tools.items():
                    took_s, found = _timed([*argv[0], expression.pattern, *argv[1]], place / "found")
                    if turn:
                        result["seconds"].setdefault(expression.key, {}).setdefault(tool, []).append(took_s)
                    result["found"].setdefault(expression.key, {})[tool] = found
        for key, by_tool in result["seconds"].items():
            speeds = {tool: round(total / 1e6 / samples.median(values)) for tool, values in by_tool.items()}
            context.say(f"logsearch: {key}: MB/s {speeds}, lines {result['found'][key]}")
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return result


def _write_logs(logs: Path, gz: Path, files: int, size: int) -> tuple[int, int, int]:
    """Archives as the logger leaves them, and the same as gzip. Returns bytes of text, of archives, of gzip files."""
    import gzip

    from holdfast.logs import archive

    gz.mkdir()
    draw = random.Random(20)
    block = _block(draw)
    total = 0
    for number in range(files):
        plain = logs / "plain"
        with open(plain, "wb") as file, gzip.open(gz / f"{number}.gz", "wb", compresslevel=1) as packed:
            written = 0
            while written < size:
                text = block.replace(b"@@@@", b"%04d" % draw.randrange(10_000))
                if number == files // 2 and not written:
                    text += b"2026-11-21T10:00:00.000 ERROR status=500 id=00 a needle-in-the-hay was seen\n"
                file.write(text)
                packed.write(text)
                written += len(text)
            total += written
        fd = os.open(plain, os.O_RDONLY)
        try:
            archive.write(fd, b"", archive.path_of(os.fspath(logs), number + 1))
        finally:
            os.close(fd)
        plain.unlink()
    return total, _bytes_in(logs), _bytes_in(gz)


def _bytes_in(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.iterdir())


def _block(draw: random.Random) -> bytes:
    lines: list[str] = []
    size = 0
    while size < BLOCK_BYTES:
        clock = f"{draw.randrange(24):02d}:{draw.randrange(60):02d}:{draw.randrange(60):02d}"
        level = draw.choice(("DEBUG", "INFO", "INFO", "INFO", "WARN", "ERROR"))
        status = draw.choice((200, 200, 204, 404, 500))
        line = (
            f"2026-11-21T{clock}.{draw.randrange(1000):03d} {level} status={status} id={draw.getrandbits(64):016x} "
            f"{draw.choice(WORDS)} run-@@@@ {draw.randrange(100_000)} ms\n"
        )
        lines.append(line)
        size += len(line)
    return "".join(lines).encode()


def _tools(peer: Holdfast, place: Path) -> tuple[dict[str, tuple[list[str | Path], list[str | Path]]], dict[str, str]]:
    """Each as what stands before and behind the pattern; and why others are missing."""
    packed: list[str | Path] = [*sorted((place / "home/logs" / AGENT).iterdir())]
    gzipped: list[str | Path] = [*sorted((place / "gz").iterdir())]
    tools: dict[str, tuple[list[str | Path], list[str | Path]]] = {
        "holdfast": ([peer.program, "--home", place / "home", "logs", AGENT, "--grep"], [])
    }
    missing = {}
    for tool, package, options, files in (
        ("zstdgrep", "zstd", ["-h", "-E"], packed),
        ("rg", "ripgrep", ["-z", "-I", "-N"], packed),
        ("zgrep", "gzip", ["-h", "-E"], gzipped),
    ):
        try:
            install.debian_version(package, tool)
        except install.Unavailable as error:
            missing[tool] = str(error)
            continue
        tools[tool] = ([shutil.which(tool) or tool, *options], files)
    return tools, missing


def _timed(argv: list[str | Path], found: Path) -> tuple[float, int]:
    """Seconds of the whole command and lines it found."""
    begun = time.perf_counter()
    environment = dict(os.environ, LC_ALL="C")  # the peers' fastest
    text = processes.command(argv, found, timeout_s=COMMAND_TIMEOUT_S, good=(0, 1), env=environment)
    return round(time.perf_counter() - begun, 4), text.count("\n")


def report(result: Result) -> Section:
    """One table and a goal for each expression."""
    rows = []
    goals = []
    for expression in EXPRESSIONS:
        by_tool = result["seconds"].get(expression.key, {})
        medians = {tool: samples.median(values) for tool, values in by_tool.items()}
        best = best_peer(medians)
        for tool, middle in sorted(medians.items(), key=lambda item: item[1]):
            speed = result["bytes"] / 1e6
            each = " ".join(samples.number(speed / value, 0) for value in by_tool[tool])
            against = samples.ratio(middle, best[1]) if best else "-"
            found = str(result["found"][expression.key][tool])
            rows.append([f"`{_shown(expression)}`", tool, samples.number(speed / middle, 0), each, against, found])
        goals.append(_goal(expression, result, medians))
    lines = samples.table(["expression", "", "MB/s, median", "each run", "time : best peer's", "lines found"], rows)
    sizes = ", ".join(
        f"{result[key] / 1e6:,.0f} MB {words}"
        for key, words in (("bytes", "of text"), ("packed_bytes", "as archives"), ("gzip_bytes", "as gzip"))
    )
    lines += ["", f"{sizes}."]
    lines += [f"Skipped: {tool} ({reason})." for tool, reason in result["missing"].items()]
    return Section(lines, goals)


def _shown(expression: Expression) -> str:
    return expression.pattern.replace("|", "\\|")


def _goal(expression: Expression, result: Result, medians: dict[str, float]) -> Goal:
    text = f"search of compressed logs ≥ {GOAL_MB_S:.0f} MB/s of text, {expression.words}"
    if "holdfast" not in medians:
        return Goal(f"logsearch-{expression.key}", text, "not measured", None)
    speed = result["bytes"] / 1e6 / medians["holdfast"]
    same = len(set(result["found"][expression.key].values())) == 1
    figure = f"{speed:,.0f} MB/s" + ("" if same else ", and not what others find")
    return Goal(f"logsearch-{expression.key}", text, figure, speed >= GOAL_MB_S and same)
