"""Where an unexpected failure of a command is written down: HOME/log, else the temporary directory.

Invariant: never raises and never prints; the user sees one line with the path. Called by main.py alone.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import time
import traceback
from pathlib import Path

from holdfast import __version__
from holdfast.home import Home


def write_crash_report(error: BaseException, home: Home) -> str:
    """Write the traceback of `error`; returns the path, or words when no place could be written."""
    name = f"crash-{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}.txt"
    # Only the subcommand: the rest of a command line may hold what nobody else should read.
    subcommand = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    text = (
        f"holdfast {__version__}, Python {platform.python_version()}, {platform.platform()}\n"
        f"command: {subcommand}\n\n{''.join(traceback.format_exception(error))}"
    )
    for directory in (home.own_logs, Path(tempfile.gettempdir())):
        path = directory / name
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with os.fdopen(fd, "w") as file:
                file.write(text)
        except OSError:
            continue
        return str(path)
    return "nowhere: neither the home nor the temporary directory can be written"
