"""The recipe of any container image, run by podman or docker in the foreground: the same contract as any program.

    scraper:
      recipe: container
      container: {image: registry.example.org/scraper:1.4, volumes: [./data:/data], network: host}
      command: [/app/scraper, --forever]          # optional: else what the image says
      env_file: scraper.env                       # names go to the engine's command line, values never

With podman the container stays inside the agent's own cgroup (`--cgroups=disabled`), so limits, the tree kill, memory
readings and adoption hold as for any process. Docker's containers live below its daemon: limits are handed to it, the
signal is passed on, and a container that outlived its client is removed before the next start, so none runs twice.
Called by the registry; container_run.py is what init starts.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Sequence

from holdfast.recipes import container_run, exits
from holdfast.recipes.model import Launch, PodFacts
from holdfast.recipes.process import ProcessRecipe
from holdfast.spec.model import AgentSpec
from holdfast.spec.recipe import Ask, Default, Finding, Given, Option, Path

ENTRYPOINT = "image-entrypoint"  # stands for the image's own command
START_PERIOD_S = 60.0  # layers are mounted and, the first time, the image is fetched
STOP_MARGIN_S = 2.0  # the engine kills this long before Holdfast would, so that it can clean up
_LISTS = ("volumes", "ports", "options")


class ContainerRecipe(ProcessRecipe):
    name = "container"
    options: tuple[Option, ...] = (
        Option("image", "text", "the image, best with its digest: NAME@sha256:…", "required"),
        Option("engine", "text", "podman, docker, or the path of one", "the first that is installed"),
        Option("volumes", "words", "HOST:INSIDE[:ro] each; a relative HOST is below working_dir", "none"),
        Option("network", "text", "host, none, bridge or the name of a network", "host: probes reach 127.0.0.1"),
        Option("ports", "words", "[ADDRESS:]HOST:INSIDE each, with a network of its own", "none"),
        Option("user", "text", "UID[:GID] inside the container", "what the image says"),
        Option("options", "words", "further options of `run`", "none"),
    )

    def defaults(self, ask: Ask) -> Given:
        image, wanted = ask.options.get("image"), ask.options.get("engine", "")
        engine = _find(wanted)
        findings: list[Finding] = []
        if not image and "image" not in ask.refused:
            findings.append(Finding(("container", "image"), "nothing", "image: NAME[:TAG][@sha256:…]"))
        elif image and (image.startswith("-") or any(char.isspace() for char in image)):
            findings.append(Finding(("container", "image"), image, "the name of an image"))
        if not engine:
            found = f"no program {wanted}" if wanted else "neither podman nor docker"
            findings.append(Finding(("container", "engine"), found, "one installed: apt-get install podman"))
        if ask.options.get("ports") and ask.options.get("network", "host") == "host":
            found = "ports with network: host, which publishes every port anyway"
            findings.append(Finding(("container", "ports"), found, "network: bridge, or no ports"))
        for volume in ask.options.get("volumes") or ():
            if not all(volume.split(":")[:2]):  # an empty HOST would be the working_dir, an empty INSIDE nothing
                findings.append(Finding(("container", "volumes"), volume or "nothing", "HOST:INSIDE[:ro]"))
        values: dict[Path, Default] = {
            ("command",): Default((ENTRYPOINT,), "what the image says"),
            ("health", "start_period"): Default(START_PERIOD_S, "the first start may fetch the image"),
            ("exit_codes", "125"): Default("the container engine refused to run it", "podman and docker alike"),
        }
        if os.geteuid() == 0:
            why = "the engine needs root here; inside, the container has no capability and gains none"
            values[("user",)] = Default("root", why)
        data = {name: str(ask.options.get(name) or "") for name in ("image", "network", "user")}
        data |= {name: "\n".join(ask.options.get(name) or ()) for name in _LISTS}
        return Given(values=values, findings=tuple(findings), recipe_data=data | {"engine": engine})

    def prepare(self, spec: AgentSpec, facts: PodFacts) -> Launch:
        engine = spec.recipe_data.get("engine") or "podman"
        argv = (sys.executable, "-I", "-S", container_run.__file__, engine, _name(spec, facts), *_run(spec, engine))
        return Launch(argv=argv, env=dict(spec.env), scrub=spec.scrub_env)

    def explain_exit(self, spec: AgentSpec, code: int | None, signal: int | None, last_log_lines: Sequence[str]) -> str:
        if code == 125:
            said = exits.last_with(last_log_lines, "error", "denied", "unable", "cannot")
            return exits.clause("exit 125: the container engine refused to run it", said)
        return super().explain_exit(spec, code, signal, last_log_lines)


def _find(wanted: str) -> str:
    """The engine's path; "" when there is none."""
    for name in (wanted,) if wanted else ("podman", "docker"):
        found = shutil.which(name)
        if found:
            return found
    return ""


def _name(spec: AgentSpec, facts: PodFacts) -> str:
    """One container for an agent of a home, found again by its name after any death."""
    return f"holdfast-{spec.name}-{hashlib.sha256(os.path.dirname(facts.tmpdir).encode()).hexdigest()[:8]}"


def _run(spec: AgentSpec, engine: str) -> tuple[str, ...]:
    """Arguments of `run` but the name. No value of the environment is among them."""
    data = spec.recipe_data
    args = ["--network", data.get("network") or "host", "--security-opt", "no-new-privileges", "--cap-drop", "all"]
    for volume in filter(None, data.get("volumes", "").split("\n")):
        host, colon, inside = volume.partition(":")
        at_host = os.path.normpath(os.path.join(spec.working_dir, os.path.expanduser(host)))
        args += ["--volume", f"{at_host if host[:1] in './~' else host}{colon}{inside}"]
    for port in filter(None, data.get("ports", "").split("\n")):
        args += ["--publish", port]
    if data.get("user"):
        args += ["--user", data["user"]]
    for name in sorted(spec.env):
        args += ["--env", name]
    args += ["--stop-signal", spec.stop.signal, "--stop-timeout", str(int(max(1.0, spec.stop.grace_s - STOP_MARGIN_S)))]
    if container_run.is_docker(engine):
        args += _docker_limits(spec)
    args += filter(None, data.get("options", "").split("\n"))
    inner = () if spec.command == (ENTRYPOINT,) else spec.command
    return (*args, data.get("image", ""), *inner)


def _docker_limits(spec: AgentSpec) -> list[str]:
    limits = spec.limits
    named = (("--memory", limits.memory_bytes), ("--cpus", limits.cpus), ("--pids-limit", limits.pids))
    return [word for option, value in named if value is not None for word in (option, str(value))]
