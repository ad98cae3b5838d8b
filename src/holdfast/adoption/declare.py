"""One agent put into the text of a holdfast.yaml and taken out again; every other character is left alone. Pure.

Invariant: what is put in is the only difference, comments and order included; taking out what was put in gives the
former text back, byte for byte. Called by apply.py and undo.py.
"""

from __future__ import annotations

import json
from typing import Any

from holdfast import errors
from holdfast.errors import HoldfastError

NEW_FILE = "# What Holdfast keeps alive. `holdfast check --explain` prints every setting with its reason.\nversion: 1\n"


def insert(text: str, name: str, body: dict[str, Any], comment: str, file: str) -> tuple[str, str]:
    """The new text, and the piece that was put in. Raises ADOPTION_REFUSED when the file cannot take it."""
    import yaml

    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader) if text.strip() else None
    except yaml.YAMLError as error:
        raise _refused(file, f"it is not YAML: {str(error).splitlines()[0]}") from error
    if root is None:
        piece = f"{NEW_FILE}\nagents:\n{_block(name, body, comment, '  ')}"
        start = text if not text or text.endswith("\n") else text + "\n"
        return start + piece, piece
    if not isinstance(root, yaml.MappingNode):
        raise _refused(file, "its top level is no mapping")
    pair = next(((key, value) for key, value in root.value if key.value == "agents"), None)
    if pair is None:
        return _append(text, root, name, body, comment, file)
    key, value = pair
    if isinstance(value, yaml.MappingNode):
        if any(each.value == name for each, _ in value.value):
            raise _refused(file, f"it declares an agent {name} already; choose another with --name")
        if value.flow_style:
            return _into_flow(text, value, name, body)
        at, indent = value.value[0][0].start_mark.index, value.value[0][0].start_mark.column
        line_start = text.rfind("\n", 0, at) + 1
        return _put(text, line_start, _block(name, body, comment, " " * indent))
    if (
        isinstance(value, yaml.ScalarNode)
        and value.value in ("", "null", "~")
        and value.start_mark.line == key.end_mark.line
    ):
        end = text.find("\n", key.end_mark.index)
        if value.value or end < 0 or root.flow_style:
            raise _refused(file, "`agents:` is empty in a way that cannot be extended: leave nothing behind the colon")
        return _put(text, end + 1, _block(name, body, comment, "  "))
    if isinstance(value, yaml.ScalarNode) and not value.value:
        end = text.find("\n", key.end_mark.index)
        return _put(text, end + 1 if end >= 0 else len(text), _block(name, body, comment, "  "))
    raise _refused(file, "`agents` is no mapping")


def remove(text: str, name: str, piece: str) -> str:
    """The text without the agent. A piece that was edited since is cut out by its key; one that is gone is no error."""
    if piece and piece in text:
        return text.replace(piece, "", 1)
    import yaml

    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return text
    pairs = root.value if isinstance(root, yaml.MappingNode) else []
    agents = next((value for key, value in pairs if key.value == "agents"), None)
    if not isinstance(agents, yaml.MappingNode) or agents.flow_style:
        return text
    for index, (key, value) in enumerate(agents.value):
        if key.value == name:
            start = text.rfind("\n", 0, key.start_mark.index) + 1
            following = agents.value[index + 1 :]
            end = text.rfind("\n", 0, following[0][0].start_mark.index) + 1 if following else value.end_mark.index
            return text[:start] + text[end:]
    return text


def _append(text: str, root: Any, name: str, body: dict[str, Any], comment: str, file: str) -> tuple[str, str]:
    if root.flow_style:
        raise _refused(file, "it has no `agents` and is written in one line")
    start = text if text.endswith("\n") else text + "\n"
    piece = f"\nagents:\n{_block(name, body, comment, '  ')}"
    return start + piece, piece


def _into_flow(text: str, value: Any, name: str, body: dict[str, Any]) -> tuple[str, str]:
    """Right behind the opening brace, as JSON, which is YAML."""
    piece = f"{json.dumps(name)}: {json.dumps(body, ensure_ascii=False)}" + (", " if value.value else "")
    return _put(text, value.start_mark.index + 1, piece)


def _put(text: str, at: int, piece: str) -> tuple[str, str]:
    if at > 0 and piece.endswith("\n") and text[at - 1] != "\n":
        piece = "\n" + piece
    return text[:at] + piece + text[at:], piece


def _block(name: str, body: dict[str, Any], comment: str, indent: str) -> str:
    lines = [f"{indent}# {comment}", f"{indent}{name}:"]
    lines += [f"{indent}  {key}: {json.dumps(value, ensure_ascii=False)}" for key, value in body.items()]
    return "\n".join(lines) + "\n"


def _refused(file: str, reason: str) -> HoldfastError:
    return HoldfastError(errors.ADOPTION_REFUSED, what=file, reason=reason)
