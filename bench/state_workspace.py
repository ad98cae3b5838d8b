"""A workspace as a long-running agent keeps one: notes, session logs, two live databases, files that do not compress.

`python -m bench.state_workspace make DIR [--scale 1.0]` and `… mutate DIR [--percent 1] [--seed N]`. At scale 1 about
440 MB in some 5,250 files: 5,000 small texts, 200 session logs, a database of 64 and one of 160 MB whose write-ahead
logs are left in place, as an agent that was not stopped leaves them, and 40 files of random bytes. The same seed makes
the same contents. `mutate` changes a share of it as an agent does in a minute: some texts written anew, deleted, added,
a few session logs appended to, a share of each database's rows updated.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sqlite3
import sys
from pathlib import Path

TEXTS = 5_000
SESSIONS = 200
RANDOM_FILES = 40
RANDOM_BYTES = 2_000_000
SESSION_BYTES = 560_000
DATABASES = {"state.db": 64_000_000, "memory.db": 160_000_000}
TEXTS_PER_DIRECTORY = 50
ROW_TEXT_WORDS = 140
ROW_VECTOR_BYTES = 768  # what an embedding takes that was quantised; does not compress
ROW_BYTES = 2_048  # on the disk: two rows of that many words and such a vector fill a page
WAL_ROWS = 200  # changed after the last checkpoint

_rng = random.Random(1)
WORDS = ["".join(_rng.choices("abcdefghijklmnopqrstuvwxyz", k=_rng.randint(2, 11))) for _ in range(4_000)]


def make(directory: Path, scale: float = 1.0, seed: int = 1) -> None:
    """Create the workspace. The directory must not exist."""
    rng = random.Random(seed)
    directory.mkdir(parents=True)
    for number in range(int(TEXTS * scale)):
        path = _text_path(directory, number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_text(rng, number))
    for number in range(int(SESSIONS * scale)):
        path = directory / "sessions" / f"{number:04}.jsonl"
        path.parent.mkdir(exist_ok=True)
        _append_session(path, rng, SESSION_BYTES)
    for number in range(int(RANDOM_FILES * scale)):
        path = directory / "media" / f"{number:03}.bin"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(rng.randbytes(RANDOM_BYTES))
    for name, size in DATABASES.items():
        _in_child(lambda path=directory / name, size=size: _make_database(path, int(size * scale), rng))


def mutate(directory: Path, percent: float = 1.0, seed: int = 2) -> None:
    """Change about `percent` of the workspace."""
    rng = random.Random(seed)
    texts = sorted(path for path in (directory / "notes").rglob("*") if path.is_file())
    for path in rng.sample(texts, max(1, int(len(texts) * percent / 100))):
        match rng.randrange(10):
            case 0:
                path.unlink()
            case 1:
                path.with_name(f"new-{seed}-{path.name}").write_text(_text(rng, seed))
            case 2 | 3 | 4:
                path.write_text(_text(rng, seed))
            case _:
                fresh = path.with_name(path.name + ".tmp")
                fresh.write_text(path.read_text() + _sentence(rng, 20))
                fresh.replace(path)
    sessions = sorted((directory / "sessions").iterdir())
    for path in rng.sample(sessions, max(1, int(len(sessions) * percent * 5 / 100))):
        _append_session(path, rng, 4_000)
    for name in DATABASES:
        _in_child(lambda path=directory / name: _mutate_database(path, percent, rng))


def _text_path(directory: Path, number: int) -> Path:
    ending = "md" if number % 3 else "json"
    return directory / "notes" / f"{number // TEXTS_PER_DIRECTORY:03}" / f"note-{number:05}.{ending}"


def _sentence(rng: random.Random, words: int) -> str:
    return " ".join(rng.choices(WORDS, k=words)) + ".\n"


def _text(rng: random.Random, number: int) -> str:
    wanted = min(200_000, int(rng.lognormvariate(7.78, 1.0)))  # 2.4 KB in the middle
    lines = [f"# note {number}\n"]
    size = 0
    while size < wanted:
        lines.append(_sentence(rng, rng.randint(5, 25)))
        size += len(lines[-1])
    return "".join(lines)


def _append_session(path: Path, rng: random.Random, size: int) -> None:
    with path.open("a") as file:
        written = 0
        while written < size:
            line = json.dumps(
                {
                    "id": rng.getrandbits(64),
                    "role": rng.choice(["user", "assistant", "tool"]),
                    "text": _sentence(rng, rng.randint(20, 300)),
                }
            )
            file.write(line + "\n")
            written += len(line) + 1


def _make_database(path: Path, size: int, rng: random.Random) -> None:
    link = sqlite3.connect(path)
    link.execute("PRAGMA journal_mode=WAL")
    link.execute("PRAGMA synchronous=OFF")
    link.execute("CREATE TABLE memory (id INTEGER PRIMARY KEY, at REAL, text TEXT, vector BLOB)")
    rows = size // ROW_BYTES
    link.executemany("INSERT INTO memory VALUES (?, ?, ?, ?)", (_row(rng, number) for number in range(1, rows + 1)))
    link.commit()
    link.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    _update(link, rng, min(rows, WAL_ROWS), rows)


def _mutate_database(path: Path, percent: float, rng: random.Random) -> None:
    link = sqlite3.connect(path)
    link.execute("PRAGMA synchronous=OFF")
    rows = link.execute("SELECT max(id) FROM memory").fetchone()[0]
    _update(link, rng, max(1, int(rows * percent / 100)), rows)


def _row(rng: random.Random, number: int) -> tuple[int, float, str, bytes]:
    return number, rng.random(), _sentence(rng, ROW_TEXT_WORDS), rng.randbytes(ROW_VECTOR_BYTES)


def _update(link: sqlite3.Connection, rng: random.Random, count: int, rows: int) -> None:
    for number in rng.sample(range(1, rows + 1), count):
        link.execute("UPDATE memory SET at = ?, vector = ? WHERE id = ?", (*_row(rng, number)[1::2], number))
    link.commit()


def _in_child(work: object) -> None:
    """Do it in a process that ends without closing its database, so that the write-ahead log stays."""
    pid = os.fork()
    if pid == 0:
        try:
            work()  # type: ignore[operator]
        except BaseException as e:
            print(e, file=sys.stderr)
            os._exit(1)
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0:
        raise RuntimeError("a database could not be written")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["make", "mutate"])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--percent", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    if args.what == "make":
        make(args.directory, args.scale, args.seed)
    else:
        mutate(args.directory, args.percent, args.seed)


if __name__ == "__main__":
    main()
