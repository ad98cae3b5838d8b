"""Work in a child with other rights: bounded in time, and without root before it begins."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from holdfast.logs.rights import Found, Rights, work

NOBODY = Rights(65534, 65534, (65534,))


def test_what_a_child_that_hangs_found_before_still_counts() -> None:
    def hang() -> Iterator[Found]:
        yield {"found": 1}
        time.sleep(600)

    assert work(Rights(), hang, 0.5) == ([{"found": 1}], False)


def test_a_child_that_fails_is_told_from_one_that_came_to_its_end() -> None:
    def fail() -> Iterator[Found]:
        yield {"found": 1}
        raise OSError(5, "broken")

    assert work(Rights(), fail, 10.0) == ([{"found": 1}], False)
    assert work(Rights(), lambda: [{"found": 2}], 10.0) == ([{"found": 2}], True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up rights")
def test_the_child_has_no_way_back_to_root() -> None:
    def who() -> Iterator[Found]:
        try:
            os.setuid(0)
        except PermissionError:
            yield {"uids": os.getresuid(), "gids": os.getresgid(), "groups": os.getgroups()}

    found, whole = work(NOBODY, who, 10.0)
    assert whole
    assert found == [{"uids": [65534] * 3, "gids": [65534] * 3, "groups": [65534]}]
