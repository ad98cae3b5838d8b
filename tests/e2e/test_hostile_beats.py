"""An agent that sends init what no library would send: the other agents are kept as if it were not there."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from holdfast.init.notify import FIELDS_MAX
from tests.harness.init_home import running_init

# A socket that lingers holds up whoever closes it last: init, when it takes the datagram after its sender closed it.
HOSTILE = """\
import array, os, signal, socket, struct, time
door = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
door.connect(os.environ["NOTIFY_SOCKET"])
listener = socket.create_server(("127.0.0.1", 0))
lines = []
for _ in range(3):
    lines.append((socket.create_connection(listener.getsockname()), listener.accept()[0]))
    lines[-1][0].setblocking(False)
    try:
        while True:
            lines[-1][0].send(bytes(1 << 16))
    except BlockingIOError:
        lines[-1][0].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 600))
os.kill(os.getppid(), signal.SIGSTOP)
for line, _ in lines:
    door.sendmsg([b"WATCHDOG=1"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [line.fileno()]))])
    line.close()
os.kill(os.getppid(), signal.SIGCONT)
for number in range(200):
    door.send("\\n".join(f"X_{number}_{part}=\\U0001f600" for part in range(300)).encode())
while True:
    door.send(b"READY=1\\nSTATUS=all said")
    time.sleep(0.5)
"""
SAYS_READY = """\
import os, socket, time
socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
time.sleep(1000)
"""


def test_sockets_that_linger_and_endless_words_hold_up_nobody_else(tmp_path: Path) -> None:
    for name, text in (("hostile.py", HOSTILE), ("other.py", SAYS_READY)):
        (tmp_path / name).write_text(text)
    with running_init() as home:
        other = home.launch("other", sys.executable, "-S", str(tmp_path / "other.py"), permit={"delays_s": [0.0]})
        home.launch("hostile", sys.executable, "-S", str(tmp_path / "hostile.py"))
        before = home.state["init"]["pid"]
        # While init would wait it answers nobody; guard ends it after a while, which is no way to live either.
        while home.wait(ev="notify", agent="hostile")["fields"].get("STATUS") != "all said":
            pass
        os.kill(other["pid"], signal.SIGKILL)
        home.wait(ev="spawned", agent="other", epoch=other["epoch"] + 1)
        home.wait(ev="notify", agent="other", epoch=other["epoch"] + 1)
        after = home.hello()
        assert after["init"]["pid"] == before
        assert len(home.wait(ev="notify", agent="hostile", held=True)["fields"]) == FIELDS_MAX
