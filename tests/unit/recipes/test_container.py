"""The container recipe: what is handed to the engine, and that no value of the environment is among it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from holdfast import recipes
from holdfast.errors import HoldfastError
from holdfast.recipes import PodFacts, container_run
from holdfast.spec.model import AgentSpec

FACTS = PodFacts(home_dir="/h", tmpdir="/home/agents/box/tmp")


def _load(tmp_path: Path, body: str, engine: str = "podman") -> AgentSpec:
    program = tmp_path / engine
    program.touch(mode=0o755)
    file = tmp_path / "holdfast.yaml"
    body = body.replace("ENGINE", str(program))
    file.write_text(f"agents:\n  box:\n    recipe: container\n{body}")
    return recipes.load(file).agents[0]


def _argv(spec: AgentSpec) -> list[str]:
    return list(recipes.find("container").prepare(spec, FACTS).argv)


def test_the_engine_gets_names_of_the_environment_and_never_values(tmp_path: Path) -> None:
    body = "    container: {image: a/b:1, engine: ENGINE, volumes: [./data:/data]}\n    env: {API_TOKEN: s3cret}\n"
    spec = _load(tmp_path, body)
    argv = _argv(spec)
    assert argv[:4] == [sys.executable, "-I", "-S", container_run.__file__]
    assert argv[-1] == "a/b:1"
    assert "s3cret" not in " ".join(argv)
    assert argv[argv.index("--env") + 1] == "API_TOKEN"
    assert argv[argv.index("--volume") + 1] == f"{tmp_path}/data:/data"
    assert "no-new-privileges" in argv
    assert recipes.find("container").prepare(spec, FACTS).env["API_TOKEN"] == "s3cret"


def test_a_command_of_the_agent_replaces_that_of_the_image(tmp_path: Path) -> None:
    spec = _load(tmp_path, "    container: {image: box, engine: ENGINE}\n    command: [/app/run, --forever]\n")
    assert _argv(spec)[-3:] == ["box", "/app/run", "--forever"]


def test_docker_is_given_the_limits_which_podman_takes_from_the_cgroup(tmp_path: Path) -> None:
    body = "    container: {image: box, engine: ENGINE}\n    limits: {memory: 100M, pids: 50}\n"
    assert "--memory" not in _argv(_load(tmp_path, body))
    argv = _argv(_load(tmp_path, body, "docker"))
    assert argv[argv.index("--memory") + 1] == "100000000"
    assert argv[argv.index("--pids-limit") + 1] == "50"


def test_podman_replaces_what_is_left_of_its_name_and_stays_in_our_cgroup() -> None:
    line = container_run.command("/usr/bin/podman", "n", ["box"], {"NOTIFY_SOCKET": "/run/x"})
    assert line[:5] == ["/usr/bin/podman", "run", "--rm", "--name", "n"]
    assert {"--replace", "--cgroups=disabled"} <= set(line)
    assert line[-3:] == ["--volume", "/run/x:/run/x", "box"]
    assert "--replace" not in container_run.command("/usr/bin/docker", "n", ["box"], {})


def test_two_homes_never_share_a_container(tmp_path: Path) -> None:
    spec = _load(tmp_path, "    container: {image: box, engine: ENGINE}\n")
    other = PodFacts(home_dir="/h", tmpdir="/elsewhere/agents/box/tmp")
    recipe = recipes.find("container")
    assert recipe.prepare(spec, FACTS).argv[5] != recipe.prepare(spec, other).argv[5]
    again = PodFacts(home_dir="/h", tmpdir=FACTS.tmpdir)
    assert recipe.prepare(spec, FACTS).argv[5] == recipe.prepare(spec, again).argv[5]


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ("{engine: ENGINE}", "image: NAME"),
        ("{image: box, engine: nothing-like-it}", "apt-get install podman"),
        ("{image: --privileged, engine: ENGINE}", "the name of an image"),
        ("{image: box, engine: ENGINE, ports: ['80:80']}", "network: bridge"),
        ("{image: box, engine: ENGINE, volumes: [':/x']}", "HOST:INSIDE"),
        ("{image: box, engine: ENGINE, volumes: ['./data:']}", "HOST:INSIDE"),
    ],
)
def test_mistakes_are_said_with_what_to_do(tmp_path: Path, block: str, said: str) -> None:
    with pytest.raises(HoldfastError) as caught:
        _load(tmp_path, f"    container: {block}\n")
    assert said in str(caught.value)
