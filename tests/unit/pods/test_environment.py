"""The environment of an agent."""

from holdfast.node.users import Identity
from holdfast.pods.environment import DEFAULT_PATH, NEVER_INHERITED, clean, complete

WHO = Identity(1000, 1000, (1000,), "hf-a", "", "/usr/sbin/nologin", "")
CALLER = {
    "PATH": "/home/me/bin:/usr/bin",
    "LANG": "de_DE.UTF-8",
    "LC_TIME": "C",
    "TZ": "Europe/Berlin",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "LD_PRELOAD": "/x.so",
    "PYTHONPATH": "/src",
    "XDG_RUNTIME_DIR": "/run/user/1000",
    "HOLDFAST_HOME": "/h",
    **dict.fromkeys(NEVER_INHERITED, "leak"),
}


def test_nothing_of_the_caller_leaks_but_language_and_time_zone() -> None:
    found = clean(WHO, "/h/agents/a/home", "/h/agents/a/tmp", CALLER, is_root=True)
    assert found == {
        "PATH": DEFAULT_PATH,
        "HOME": "/h/agents/a/home",
        "USER": "hf-a",
        "LOGNAME": "hf-a",
        "SHELL": "/bin/sh",
        "LANG": "de_DE.UTF-8",
        "LC_TIME": "C",
        "TZ": "Europe/Berlin",
        "TERM": "dumb",
        "TMPDIR": "/h/agents/a/tmp",
    }


def test_an_ordinary_user_keeps_its_path() -> None:
    assert clean(WHO, "/h", "/t", CALLER, is_root=False)["PATH"] == CALLER["PATH"]
    assert clean(WHO, "/h", "/t", {}, is_root=False)["PATH"] == DEFAULT_PATH


def test_what_the_spec_says_wins_but_for_what_init_sets() -> None:
    base = clean(WHO, "/h", "/t", {}, is_root=True)
    own = {"PATH": "/opt/bin", "TMPDIR": "/mine", "KEY": "value", "NOTIFY_SOCKET": "/elsewhere", "GONE": "x"}
    found = complete(base, own, ("GONE", "LANG"), "a", notify=True)
    assert (found["PATH"], found["TMPDIR"], found["KEY"]) == ("/opt/bin", "/mine", "value")
    assert found["HOLDFAST_AGENT"] == "a"
    assert not {"GONE", "LANG", "NOTIFY_SOCKET"} & found.keys()
    assert "HOLDFAST_AGENT" not in complete(base, {}, (), "a", notify=False)


def test_an_agent_with_a_beat_is_told_when_it_is_missed_unless_it_must_not_beat() -> None:
    assert complete({}, {}, (), "a", notify=True, beat_s=60.0)["WATCHDOG_USEC"] == "120000000"
    assert complete({}, {}, (), "a", notify=True, beat_s=0.25)["WATCHDOG_USEC"] == "500000"
    for found in (complete({}, {}, (), "a", notify=False, beat_s=60.0), complete({}, {}, (), "a", notify=True)):
        assert not {"WATCHDOG_USEC", "WATCHDOG_PID"} & found.keys()
    assert "WATCHDOG_USEC" not in complete({}, {}, ("WATCHDOG_USEC",), "a", notify=True, beat_s=1.0)
