"""The guide on fleets is true: its files load together, and what it says of them holds."""

from __future__ import annotations

import re
from pathlib import Path

from holdfast import recipes

GUIDE = (Path(__file__).parents[3] / "docs/guides/fleet.md").read_text()
FILES = re.findall(r"^`([\w/]+\.yaml)`, .*?^```yaml\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)


def test_the_example_is_what_the_guide_says(tmp_path: Path) -> None:
    for name, text in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "shared/worker.env").write_text("TOKEN=x\n")
    loaded = recipes.read(tmp_path / "holdfast.yaml")
    assert len(loaded.files) == len(FILES) == 3
    agents = {one.name: one for one in loaded.fleet.agents}
    assert list(agents) == ["database", "migrate", "crew-1", "crew-2", "crew-3", "scout"]
    assert [agents["crew-2"].working_dir, agents["database"].working_dir] == [str(tmp_path / "teams"), str(tmp_path)]
    assert (agents["crew-1"].labels, agents["database"].labels) == ({"team": "research"}, {"tier": "base"})
    assert [need.agent for need in agents["crew-1"].depends_on] == ["migrate", "database"]
    assert [need.agent for need in agents["scout"].depends_on] == ["database"]
    rows = {one.field: one for one in recipes.effective(loaded) if one.agent == "crew-1"}
    shown = re.findall(r"^  ([a-z_.]+) +(\S.*?) {2,}(\S+:\d+(?: \([\w ]+\))?|default)(?: |$)", GUIDE, re.MULTILINE)
    assert len(shown) == 7
    for field, value, source in shown:
        assert (rows[field].value, rows[field].source.replace(f"{tmp_path}/", "")) == (value, source)
