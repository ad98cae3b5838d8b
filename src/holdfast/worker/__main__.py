"""`python -P -m holdfast.worker FD`: the descriptor is the keeper's end of the line."""

from __future__ import annotations

import socket
import sys

from holdfast.worker.process import serve


def main() -> int:
    line = socket.socket(fileno=int(sys.argv[1]))
    line.set_inheritable(False)
    serve(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
