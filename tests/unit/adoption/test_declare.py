"""One agent in and out of a file that somebody else wrote."""

from __future__ import annotations

import pytest
import yaml

from holdfast.adoption import declare
from holdfast.errors import HoldfastError

BODY = {"recipe": "hermes", "hermes": {"home": "/srv/h", "port": 8642}}
FILES = {
    "block": "# top\nversion: 1\nagents:  # mine\n    one: {command: [a]}\n\n"
    "    # two\n    two:\n        command: [b]\nx-a: 1\n",
    "agents last, no newline": "version: 1\nagents:\n  one: {command: [a]}",
    "flow": "{version: 1, agents: {one: {command: [a]}}}\n",
    "json": '{\n  "version": 1,\n  "agents": {\n    "one": {"command": ["a"]}\n  }\n}\n',
    "empty flow": "version: 1\nagents: {}\n",
    "no agents": "version: 1\n# end\n",
    "nothing after the colon": "version: 1\nagents:\nx-a: 1\n",
    "empty file": "",
}


@pytest.mark.parametrize("text", FILES.values(), ids=FILES)
def test_what_is_put_in_is_the_only_difference_and_comes_out_byte_for_byte(text: str) -> None:
    before = yaml.safe_load(text) or {"version": 1}
    new, piece = declare.insert(text, "hermes", BODY, "a comment", "f")
    after = yaml.safe_load(new)
    assert after["agents"].pop("hermes") == BODY
    assert (after["agents"] or None) == (before.get("agents") or None)
    assert {k: v for k, v in after.items() if k != "agents"} == {k: v for k, v in before.items() if k != "agents"}
    assert declare.remove(new, "hermes", piece).rstrip("\n") == text.rstrip("\n")


def test_an_entry_that_was_edited_since_is_cut_out_by_its_key() -> None:
    new, piece = declare.insert(FILES["block"], "hermes", BODY, "a comment", "f")
    edited = new.replace("recipe:", "priority: 7\n      recipe:")
    left = yaml.safe_load(declare.remove(edited, "hermes", piece))
    assert set(left["agents"]) == {"one", "two"}


@pytest.mark.parametrize("text", ["agents: [a]\n", "- a\n", "agents: {hermes: {command: [a]}}\n", "a: b: c\n"])
def test_a_file_that_cannot_take_it_is_refused_with_the_reason(text: str) -> None:
    with pytest.raises(HoldfastError) as caught:
        declare.insert(text, "hermes", BODY, "c", "f")
    assert caught.value.kind.code == "HF2041"
