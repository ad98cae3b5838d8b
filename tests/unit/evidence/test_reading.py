"""What the collector reads: parsers as tables, and one look at a real process."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest

from holdfast import limits
from holdfast.evidence import collect, group, inspector, kernel_log, proc, sockets, stacks
from holdfast.evidence.model import Bundle, KernelLine, Order
from holdfast.node import processes
from tests.harness.init_home import wait_until

DUMP = json.dumps(
    [
        {
            "thread_id": 140,
            "os_thread_id": 12,
            "active": True,
            "frames": [{"name": "stuck_here", "filename": "/a.py", "line": 3}, {"name": "main", "filename": "/a.py"}],
        }
    ]
)
EU_STACK = """PID 5 - process
TID 5:
#0  0x00007fa9dad6b503 clock_nanosleep@GLIBC_2.2.5
#1  0x000055efb07024af
#2  0x0000000000bbbbe6 - 1 node::SpinEventLoop(node::Environment*, int) - /usr/bin/node
#3  0x00007fa9dacc3305 __libc_start_main@@GLIBC_2.34
TID 6:
#0  0x00007f6b7 epoll_pwait
"""
OOM = [
    KernelLine(at=100.0, text="python invoked oom-killer: gfp_mask=0xcc0, order=0, oom_score_adj=300"),
    KernelLine(at=100.1, text="[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name"),
    KernelLine(at=100.1, text="[  77]     0    77   200000   125000  1000000        0           300 python"),
    KernelLine(
        at=100.2,
        text="oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/hf/scout.1,"
        "task_memcg=/hf/scout.1,task=python,pid=77,uid=0",
    ),
    KernelLine(
        at=100.2, text="Memory cgroup out of memory: Killed process 77 (python) total-vm:1kB, anon-rss:500000kB"
    ),
    KernelLine(at=200.0, text="oom-kill:constraint=CONSTRAINT_NONE,task_memcg=/other,task=java,pid=9,uid=0"),
]


@pytest.fixture
def a_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    """py-spy may not be reachable for the user that runs the tests; here it is only named, never run."""
    monkeypatch.setattr(stacks, "py_spy", lambda: "/usr/bin/py-spy")


def test_a_py_spy_dump_gives_functions_files_and_lines() -> None:
    found = stacks.parse_py_spy(DUMP)
    assert [(frame.function, frame.line) for frame in found.frames[12]] == [("stuck_here", 3), ("main", 0)]
    assert found.busy == {12}


def test_eu_stack_gives_native_functions_by_thread() -> None:
    found = stacks.parse_eu_stack(EU_STACK)
    names = [frame.function for frame in found[5]]
    assert names == ["clock_nanosleep", "node::SpinEventLoop(node::Environment*, int)", "__libc_start_main"]
    assert found[5][1].file == "/usr/bin/node"
    assert [frame.function for frame in found[6]] == ["epoll_pwait"]


def test_a_refused_pause_is_tried_without_pausing(a_tool: None) -> None:
    asked: list[list[str]] = []

    def run(command: list[str], timeout_s: float) -> tuple[int, str, str]:
        asked.append(command)
        return (0, DUMP, "") if "--nonblocking" in command else (1, "", "Error: Operation not permitted (os error 1)")

    assert stacks.python(5, "S", 1.0, run).frames
    assert ["--nonblocking" in command for command in asked] == [False, True]


@pytest.mark.parametrize("state", ["D", "T"])
def test_a_process_held_by_the_kernel_is_never_attached_to(a_tool: None, state: str) -> None:
    asked: list[list[str]] = []

    def run(command: list[str], timeout_s: float) -> tuple[int, str, str]:
        asked.append(command)
        return 0, DUMP, ""

    stacks.python(5, state, 1.0, run)
    assert asked
    assert all("--nonblocking" in command for command in asked)


def test_what_cannot_be_had_is_one_sentence_with_the_reason(a_tool: None) -> None:
    found = stacks.python(5, "S", 1.0, lambda command, timeout_s: (1, "", "Error: Failed to find python version"))
    assert not found.frames
    assert "Failed to find python version" in found.gap


def test_no_stack_ever_asks_for_locals(a_tool: None) -> None:
    asked: list[str] = []

    def run(command: list[str], timeout_s: float) -> tuple[int, str, str]:
        asked.extend(command)
        return 0, DUMP, ""

    stacks.python(5, "S", 1.0, run)
    assert not any(word.startswith(("--locals", "-l")) for word in asked)


def test_the_kernels_words_about_one_agent_are_found() -> None:
    story = kernel_log.story(OOM, {"scout.1"}, set())
    assert [(one.pid, one.whole_machine, one.anon_bytes) for one in story.victims] == [(77, False, 512_000_000)]
    assert "invoked oom-killer" in story.lines[0].text
    assert story.biggest[0][:2] == ("python", 77)
    assert not kernel_log.story(OOM, {"scout.12"}, set()).victims
    assert kernel_log.story(OOM, set(), {9}).victims[0].whole_machine


def test_a_kernel_record_has_its_wall_time() -> None:
    found = kernel_log.parse_record("6,1234,5000000,-;text of it\n SUBSYSTEM=memory", 1000.0)
    assert found == KernelLine(at=1005.0, text="text of it")


def test_counters_of_both_cgroup_versions_are_read(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.peak").write_text("4096\n")
    (tmp_path / "memory.events").write_text("low 0\noom_kill 2\n")
    (tmp_path / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    counted = group.counters([str(tmp_path)])
    assert group.ceiling_bytes(counted) is None
    assert group.peak_bytes(counted) == 4096
    assert group.oom_kills(counted) == 2
    (tmp_path / "memory.max").write_text("9000\n")
    assert group.ceiling_bytes(group.counters([str(tmp_path)])) == 9000
    (tmp_path / "memory.high").write_text("8000\n")
    assert group.ceiling_bytes(group.counters([str(tmp_path)])) == 8000, "memory.max stands behind it"


def test_limits_and_status_lines_are_read() -> None:
    table = "Limit     Soft Limit  Hard Limit  Units\nMax open files            1024                 4096       files\n"
    assert proc.parse_limits(table) == {"Max open files": "1024"}
    assert proc.kilobytes(proc.fields("Name:\tx\nVmSwap:\t  12 kB\n")["VmSwap"]) == 12_288


def test_a_peer_and_how_long_it_is_silent_are_told_by_the_kernel() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        port = client.getsockname()[1]
        inode = os.fstat(client.fileno()).st_ino
        found = sockets.table().get(inode)
        if found is None:
            pytest.skip("the kernel does not tell about sockets here")
        assert found.local == f"127.0.0.1:{port}"
        assert found.remote.endswith(str(server.getsockname()[1]))
        assert found.state == "established"
        assert found.silent_s is not None


def test_the_frames_of_a_paused_node_program_are_read() -> None:
    call = {"functionName": "stuckHere", "url": "file:///a.js", "location": {"lineNumber": 4}}
    frames = inspector.parse({"params": {"callFrames": [call, {"functionName": "", "location": {}}]}})
    assert [(frame.function, frame.line) for frame in frames] == [("stuckHere", 5), ("(anonymous)", 0)]


def test_an_inspector_port_of_somebody_else_is_not_asked() -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        found = inspector.javascript(1, stranger.getsockname()[1], [], 0.2)
    assert not found.frames
    assert "no process of the agent listens" in found.gap


def test_an_inspector_that_names_another_place_sends_us_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answers of a hostile agent: a redirection, then the address of somebody else."""
    monkeypatch.setattr(processes, "listeners_of", lambda port, within: within)
    with socket.create_server(("127.0.0.1", 0)) as other, socket.create_server(("127.0.0.1", 0)) as agent:
        agent.settimeout(30)
        elsewhere = f"127.0.0.1:{other.getsockname()[1]}"
        body = json.dumps([{"webSocketDebuggerUrl": f"ws://{elsewhere}/x"}])
        for head in (f"302 Found\r\nLocation: http://{elsewhere}/", "200 OK"):
            asker = threading.Thread(target=inspector.javascript, args=(1, agent.getsockname()[1], [1], 2.0))
            asker.start()
            line, _ = agent.accept()
            with line:
                line.recv(65_536)
                line.sendall(f"HTTP/1.1 {head}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
                agent.accept()[0].close()  # the second call, to the agent itself in both cases
            asker.join()
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.accept()


SLEEPER = "import sys, time\ndef stuck_here():\n    time.sleep(600)\nprint('x', flush=True)\nstuck_here()"


def test_a_real_process_is_looked_into_and_leaves_no_secret() -> None:
    with subprocess.Popen([sys.executable, "-c", SLEEPER, "--token", "topsecret"], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            wait_until(lambda: processes.stat(process.pid), "the process")
            order = Order(
                agent="a",
                instance=1,
                pid=process.pid,
                starttime=processes.starttime(process.pid) or 0,
                until_mono=time.monotonic() + 80,
            )
            done = subprocess.run(
                [sys.executable, "-P", "-m", "holdfast.evidence"],
                input=msgspec.json.encode(order),
                capture_output=True,
                check=True,
                timeout=90,
            )
            lines = done.stdout.splitlines()
            assert len(lines) >= 2  # what costs nothing was handed over before the stack
            found = msgspec.json.decode(lines[-1], type=Bundle)
            assert found.complete
            assert b"topsecret" not in done.stdout
            main = found.processes[0]
            assert main.pid == process.pid
            if not main.stack_by:
                pytest.skip(f"stacks cannot be had here: {found.gaps}")
            assert any(frame.function == "stuck_here" for frame in main.threads[0].frames)
        finally:
            process.kill()


def test_a_collector_ends_by_itself_when_its_time_is_over() -> None:
    order = Order(
        agent="a", instance=1, pid=os.getpid(), starttime=processes.starttime(os.getpid()) or 0, until_mono=0.0
    )
    done = subprocess.run(
        [sys.executable, "-P", "-m", "holdfast.evidence"],
        input=msgspec.json.encode(order),
        capture_output=True,
        check=False,
        timeout=90,
        start_new_session=True,
    )
    assert done.returncode != 0


def test_another_process_with_the_same_number_is_not_looked_into() -> None:
    handed: list[bytes] = []
    collect.collect(Order(agent="a", instance=1, pid=os.getpid(), starttime=1, until_mono=0.0), handed.append)
    assert not handed


def test_a_bundle_keeps_its_bound_and_its_main_process() -> None:
    fat = [{"pid": n, "descriptors": ["x" * 400] * 200, "sockets": [], "threads": ["y" * 400] * 64} for n in range(32)]
    data = collect.fit({"processes": fat})
    assert len(data) < limits.BUNDLE_MAX_BYTES
    assert json.loads(data)["processes"][0]["pid"] == 0


def test_who_is_paused_by_us_is_never_attached_to(a_tool: None) -> None:
    asked: list[list[str]] = []

    def run(command: list[str], timeout_s: float) -> tuple[int, str, str]:
        asked.append(command)
        return 0, DUMP, ""

    stacks.python(5, "S", 1.0, run, paused=True)
    stacks.native(5, "S", 1.0, run, paused=True)
    assert ["--nonblocking" in command for command in asked] == [True]


def test_who_was_left_stopped_by_a_tool_that_was_killed_goes_on(a_tool: None, monkeypatch: pytest.MonkeyPatch) -> None:
    went_on: list[int] = []
    monkeypatch.setattr(stacks, "go_on", went_on.append)
    stacks.python(5, "S", 1.0, lambda command, timeout_s: (-1, "", "it took longer than there was time"))
    assert went_on == [5]
