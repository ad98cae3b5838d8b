"""Wheels made of what is installed here and of this tree, so that pip can install a Holdfast without any index."""

from __future__ import annotations

import re
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def dependencies(directory: Path) -> None:
    """A wheel of everything that Holdfast needs to run, from the running environment."""
    wanted, made = [_name(each) for each in PROJECT["dependencies"]], set()
    while wanted:
        name = wanted.pop()
        if name in made:
            continue
        made.add(name)
        found = metadata.distribution(name)
        _repack(found, directory)
        wanted += [_name(each) for each in found.requires or () if "extra ==" not in each and _applies(each)]


def of_tree(source: Path, directory: Path) -> Path:
    """Holdfast from `source`, the directory that holds the package."""
    version = PROJECT["version"]
    info = f"holdfast-{version}.dist-info"
    lines = ["Metadata-Version: 2.1", "Name: holdfast", f"Version: {version}"]
    lines += [f"Requires-Dist: {each}" for each in PROJECT["dependencies"]]
    files = {
        f"{info}/METADATA": ("\n".join(lines) + "\n").encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": b"[console_scripts]\nholdfast = holdfast.cli.__main__:main\n",
    }
    for path in sorted((source / "holdfast").rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            files[str(path.relative_to(source))] = path.read_bytes()
    return _write(directory / f"holdfast-{version}-py3-none-any.whl", info, files)


def _repack(found: metadata.Distribution, directory: Path) -> None:
    name = re.sub(r"[-.]+", "_", found.metadata["Name"])
    info = f"{name}-{found.version}.dist-info"
    scripts = {each.name for each in found.entry_points if each.group == "console_scripts"}
    files: dict[str, bytes] = {}
    for entry in found.files or ():
        path = Path(str(found.locate_file(entry)))
        if "__pycache__" in entry.parts or not path.is_file():
            continue
        if entry.parts[0] == "..":
            if path.parent.name == "bin" and path.name not in scripts:
                files[f"{name}-{found.version}.data/scripts/{path.name}"] = path.read_bytes()
        elif entry.parts[0].endswith(".dist-info"):
            if entry.name not in ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json"):
                files["/".join((info, *entry.parts[1:]))] = path.read_bytes()
        else:
            files[str(entry)] = path.read_bytes()
    tags = [each.split("-") for each in re.findall(r"^Tag: (.+)$", found.read_text("WHEEL") or "", re.MULTILINE)]
    assert tags, name
    tag = "-".join(".".join(dict.fromkeys(part)) for part in zip(*tags, strict=True))
    _write(directory / f"{name}-{found.version}-{tag}.whl", info, files)


def _write(path: Path, info: str, files: dict[str, bytes]) -> Path:
    record = "".join(f"{name},,\n" for name in (*files, f"{info}/RECORD"))
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**files, f"{info}/RECORD": record.encode()}.items():
            entry = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
            entry.external_attr = (0o755 if "/scripts/" in name else 0o644) << 16
            archive.writestr(entry, content)
    return path


def _name(requirement: str) -> str:
    match = re.match(r"[\w.-]+", requirement)
    assert match is not None
    return match[0]


def _applies(requirement: str) -> bool:
    """Whether it is installed here: what a marker leaves out is not."""
    try:
        metadata.distribution(_name(requirement))
    except metadata.PackageNotFoundError:
        return False
    return True
