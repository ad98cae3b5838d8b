"""Probe URLs."""

import socket

import pytest

from holdfast.health.address import parse


def test_a_literal_address_is_asked_as_it_is() -> None:
    found = parse("http://127.0.0.1:8080/health?full=1")
    assert found.targets == ((socket.AF_INET, ("127.0.0.1", 8080)),)
    assert found.request.startswith(b"GET /health?full=1 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n")
    assert found.request.endswith(b"\r\n\r\n")


def test_localhost_means_both_loopback_addresses() -> None:
    assert [target[0] for target in parse("http://localhost:1/").targets] == [socket.AF_INET, socket.AF_INET6]


def test_an_ipv6_address_is_bracketed_in_the_host_header() -> None:
    found = parse("http://[::1]:81")
    assert found.targets == ((socket.AF_INET6, ("::1", 81)),)
    assert b"Host: [::1]:81\r\n" in found.request


def test_a_unix_socket_is_written_percent_encoded() -> None:
    found = parse("http+unix://%2Frun%2Fa.sock/health")
    assert found.targets == ((socket.AF_UNIX, "/run/a.sock"),)
    assert found.request.startswith(b"GET /health ")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://127.0.0.1/", "https"),
        ("ftp://127.0.0.1/", "no probe URL"),
        ("127.0.0.1:80", "no probe URL"),
        ("http://example.org/", "localhost or an IP address"),
        ("http:///health", "localhost or an IP address"),
        ("http://127.0.0.1:99999/", "no valid port"),
        ("http://u:p@127.0.0.1/", "no user or password"),
        ("http://127.0.0.1/a b", "blanks"),
        ("http://127.0.0.1/\r\nX: y", "blanks"),
        ("http+unix://relative.sock/", "Unix socket"),
    ],
)
def test_a_url_that_cannot_be_asked_says_what_to_write(url: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse(url)
