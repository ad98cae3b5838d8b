"""An agent declared by options instead of a file, through the same reader: the same checks, the same defaults.

Called by run.py; up.py and check.py share the name of the file.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from holdfast import errors
from holdfast.errors import HoldfastError

if TYPE_CHECKING:
    from holdfast.spec.model import FleetSpec

SPEC_FILE_NAME = "holdfast.yaml"
RUN = "holdfast run"


def fleet_of_one(name: str, agent: dict[str, Any]) -> FleetSpec:
    """One agent, declared by options instead of a file, through the same reader.

    Raises HoldfastError USAGE naming each wrong option.
    """
    from holdfast.recipes import load

    text = json.dumps({"version": 1, "agents": {name: agent}}, ensure_ascii=False)
    fd = os.memfd_create("holdfast-run")  # a file to read that is never on any disk
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(text.encode())
        return load(f"/proc/self/fd/{fd}")
    except UnicodeEncodeError as error:
        raise HoldfastError(errors.USAGE, reason="the command holds bytes which are not UTF-8", command=RUN) from error
    except HoldfastError as error:
        problems = error.detail.get("items")
        if not isinstance(problems, tuple):
            raise
    finally:
        os.close(fd)
    prefix = f"agents.{name}."
    words = [f"{one.field.removeprefix(prefix)}: found {one.found}, expected {one.expected}" for one in problems]
    raise HoldfastError(errors.USAGE, reason="; ".join(words), command=RUN)
