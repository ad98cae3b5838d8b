"""The campaign's agent: proves by itself that it is alone, keeps a helper in a session of its own, prints lines.

Arguments: DIRECTORY NAME. In DIRECTORY/NAME.alone it holds a lock that is never inherited: a second instance cannot
take it and says so in DIRECTORY/doubled. DIRECTORY/NAME.EPOCH holds how many lines it has printed.
"""

import fcntl
import mmap
import os
import struct
import sys
import time


def main() -> None:
    directory, name = sys.argv[1:3]
    epoch = os.environ["HOLDFAST_INSTANCE"].rpartition(":")[2]
    alone = os.open(f"{directory}/{name}.alone", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        with open(f"{directory}/doubled", "a") as file:
            file.write(f"{name} {epoch} {os.getpid()}\n")
    if os.fork() == 0:
        os.close(alone)
        os.setsid()
        while True:
            time.sleep(1000)
    count_fd = os.open(f"{directory}/{name}.{epoch}", os.O_RDWR | os.O_CREAT, 0o600)
    os.ftruncate(count_fd, 8)
    count = mmap.mmap(count_fd, 8)
    number = 0
    while True:
        for _ in range(10):
            number += 1
            os.write(1, b"%s %s %d\n" % (name.encode(), epoch.encode(), number))
            count[:8] = struct.pack("<Q", number)
        time.sleep(0.05)


main()
