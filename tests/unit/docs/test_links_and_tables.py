"""Documents point at what exists: files, sections, and every document from the index."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PLACES = ("*.md", "docs/**/*.md", "examples/**/*.md", "bench/**/*.md")
DOCUMENTS = sorted({path for place in PLACES for path in ROOT.glob(place)})
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)


def _links(path: Path) -> list[str]:
    found = _LINK.findall(_CODE.sub("", path.read_text(encoding="utf-8")))
    return [link for link in found if not re.match(r"[a-z]+:", link)]


def _sections(path: Path) -> set[str]:
    """The names under which a page's headings can be reached."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def _wrong(path: Path, link: str) -> bool:
    name, _, section = link.partition("#")
    target = (path.parent / name).resolve() if name else path
    if not target.is_relative_to(ROOT) or not target.exists():
        return True
    return bool(section) and section not in _sections(target)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(path: Path) -> None:
    assert [link for link in _links(path) if _wrong(path, link)] == []


def test_a_link_that_leads_nowhere_is_seen() -> None:
    readme = ROOT / "README.md"
    assert _wrong(readme, "docs/nowhere.md")
    assert _wrong(readme, "docs/limits.md#no-such-section")
    assert not _wrong(readme, "docs/limits.md#by-nature")
    assert "docs/limits.md" in _links(readme)


def test_the_index_names_every_document() -> None:
    index = ROOT / "docs" / "README.md"
    named = {(index.parent / link.partition("#")[0]).resolve() for link in _links(index)}
    runbooks = ROOT / "docs" / "runbooks"  # these have an index of their own
    missing = {path for path in (ROOT / "docs").rglob("*.md") if path.parent != runbooks} - named - {index}
    assert sorted(str(path.relative_to(ROOT)) for path in missing) == []


def test_the_table_of_layers_names_every_package() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    packages = {path.parent.name for path in (ROOT / "src" / "holdfast").glob("*/__init__.py")}
    assert sorted(name for name in packages if f"`{name}/`" not in text) == []
    modules = {path.name for path in (ROOT / "src" / "holdfast").glob("*.py")} - {"__init__.py"}
    assert sorted(name for name in modules if f"`{name}`" not in text) == []


def test_every_dependency_has_its_reason() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    block = project.partition("\ndependencies = [")[2].partition("]")[0]
    table = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").partition("## Dependencies")[2]
    names = re.findall(r'"([\w-]+)', block)
    assert len(names) > 5
    assert [name for name in names if not re.search(rf"^\|[^|]*\b{name}\b[^|]*\|", table, re.MULTILINE)] == []
