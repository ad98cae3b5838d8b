"""How the tour is read and compared; and that a wrong tour fails."""

from __future__ import annotations

import pytest

from tests.tour import matching, reading

TOUR = """# Title

## Before
```sh
rm -rf /
```

## Tour
```python
# a.py: says something
print(1)
```
```yaml
# holdfast.yaml
version: 1
```
```sh
python3 a.py    # an explanation
# only a remark
false           # exit code 1: on purpose
```
```
1
```
```yaml
# holdfast.yaml, at its end
x-more: 1
```
## After
```sh
rm -rf /
```
"""


def test_a_tour_is_files_commands_and_what_they_print() -> None:
    python, yaml, run, more = reading.steps(reading.section(TOUR, "Tour"))
    assert python == reading.Write("a.py", "# a.py: says something\nprint(1)\n")
    assert yaml == reading.Write("holdfast.yaml", "# holdfast.yaml\nversion: 1\n")
    assert isinstance(run, reading.Run)
    assert [(one.line.split()[0], one.exit_code) for one in run.commands] == [("python3", 0), ("false", 1)]
    assert run.output == "1\n"
    assert more == reading.Write("holdfast.yaml", "# holdfast.yaml, at its end\nx-more: 1\n", more=True)


FILLED = "```sh\ntrue\n```\n" * 5


@pytest.mark.parametrize(
    "text",
    [
        "",
        "```sh\ntrue\n```\n",
        FILLED + "```sh\nnever closed\n",
        FILLED + "```yaml\nversion: 1\n```\n",
        FILLED + "```json\n{}\n```\n",
        FILLED + "```python\n# a.py\n```\n```\noutput of nothing\n```\n",
        "```\noutput of nothing\n```\n" + FILLED,
    ],
)
def test_what_could_not_be_tested_is_refused(text: str) -> None:
    with pytest.raises(reading.BadTour):
        reading.steps(text)


def test_a_missing_section_is_no_empty_tour() -> None:
    with pytest.raises(reading.BadTour):
        reading.section(TOUR, "Tou")


@pytest.mark.parametrize(
    ("pattern", "printed", "good"),
    [
        ("web  healthy  41\n", "web healthy      41\n", True),
        ("web  healthy  …\n", "web healthy 41 12s\n", True),
        ("web  healthy  …\n", "web backoff 41 12s\n", False),
        ("web  healthy  4\n", "web healthy 41\n", False),
        ("a\n", "a\nb\n", False),
        ("a\nb\n", "a\n", False),
        ("a\n", "", False),
        ("", "a\n", False),
        ("a\n…\n", "a\n", True),
        ("a\n…\n", "a\nb\nc\n", True),
        ("a\n…\nd\n", "a\nb\nc\nd\n", True),
        ("a\n…\nd\n", "a\nb\nc\n", False),
        ("…\nd\n", "d\ne\n", False),
        ("it hung in …(a.py:3).\n", "it hung in stuck_here (a.py:3).\n", True),
        ("it hung in …(a.py:3).\n", "it hung in stuck_here (a.py:4).\n", False),
        ("1.5 (x)*\n", "1x5 (x)*\n", False),
    ],
)
def test_the_whole_output_is_compared_and_only_dots_stand_for_anything(pattern: str, printed: str, good: bool) -> None:
    assert matching.matches(pattern, printed) is good
