"""Durations, sizes and cores as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.spec import units


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("10s", 10),
        ("5m", 300),
        ("1h30m", 5400),
        ("2d", 172_800),
        ("1.5h", 5400),
        ("1m500ms", 60.5),
        ("10", 10),
        ("0.5", 0.5),
        ("0", 0),
        ("0s", 0),
    ],
)
def test_durations_are_seconds(text: str, seconds: float) -> None:
    assert units.parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("10 seconds", "10s"),
        ("5min", "5m"),
        ("3 Hours", "3h"),
        ("", ""),
        ("-5s", ""),
        ("30m1h", ""),
        ("s", ""),
        ("1:30", ""),
        ("1e3", ""),
        ("٣s", ""),
        ("10 S", "10s"),
        ("100 msec", "100ms"),
    ],
)
def test_a_wrong_duration_suggests_what_was_meant(text: str, meant: str) -> None:
    with pytest.raises(ValueError) as caught:
        units.parse_duration(text)
    assert str(caught.value) == meant


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("500M", 500_000_000),
        ("1.5G", 1_500_000_000),
        ("512Mi", 536_870_912),
        ("512MiB", 536_870_912),
        ("500MB", 500_000_000),
        ("64k", 64_000),
        ("100", 100),
        ("100B", 100),
        ("2 G", 2_000_000_000),
    ],
)
def test_sizes_are_bytes(text: str, size: int) -> None:
    assert units.parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "meant"), [("500m", "500M"), ("2g", "2G"), ("512mib", "512Mi"), ("5 apples", ""), ("", "")]
)
def test_a_wrong_size_suggests_what_was_meant(text: str, meant: str) -> None:
    with pytest.raises(ValueError) as caught:
        units.parse_size(text)
    assert str(caught.value) == meant


def test_cores_are_plain_numbers() -> None:
    assert units.parse_cpus("0.5") == 0.5
    with pytest.raises(ValueError, match=r"^0\.25$"):
        units.parse_cpus("250m")


@given(st.integers(0, 10**12))
def test_a_printed_duration_reads_back_the_same(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert units.parse_duration(units.format_duration(seconds)) == seconds


@given(st.integers(0, 10**15))
def test_a_printed_size_reads_back_the_same(size: int) -> None:
    assert units.parse_size(units.format_size(size)) == size
