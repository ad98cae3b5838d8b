"""A bucket as a place for objects: what it keeps, what it refuses, and what is said of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast import limits
from holdfast.state.second_place import aws_profile
from holdfast.state.second_place.rebuild import bring_home, open_remote, survey
from holdfast.state.second_place.refusals import explain
from holdfast.state.second_place.remote_store import RemoteStore, beginning, is_loopback, may_speak_http
from holdfast.state.second_place.upload import bring, known_there, standing
from holdfast.state.store.local_store import LocalStore
from holdfast.state.store.objects import Missing, StoreError
from holdfast.state.store.repository import Repository
from tests.harness.ports import free_port
from tests.harness.s3_server import SECRET, S3Server, moto
from tests.harness.snapshot_chain import AT, KEY, commit, contents

BUCKET = "holdfast-test"


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with moto() as started:
        started.make_bucket(BUCKET)
        yield started


@pytest.fixture
def url(server: S3Server, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    for name, value in server.environ.items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{abs(hash(request.node.name))}"


def test_what_was_put_is_read_back_whole_and_in_ranges(url: str) -> None:
    store = RemoteStore(url)
    assert store.put("packs/ab/one", b"0123456789")
    assert store.put("packs/ab/two", iter((b"zero", b"", b"one")))
    assert store.get("packs/ab/one") == b"0123456789"
    assert store.get("packs/ab/two") == b"zeroone"
    assert store.ranges("packs/ab/one", [(7, 3), (0, 1), (4, 2)]) == [b"789", b"0", b"45"]
    assert store.size("packs/ab/one") == 10
    assert {one.name: one.size for one in store.list("packs/")} == {"packs/ab/one": 10, "packs/ab/two": 7}
    assert list(store.list("snaps/")) == []
    store.delete("packs/ab/one")
    store.delete("packs/ab/one")
    with pytest.raises(Missing):
        store.get("packs/ab/one")
    with pytest.raises(Missing):
        store.size("packs/ab/one")
    with pytest.raises(Missing):
        store.ranges("packs/ab/one", [(0, 1)])


def test_a_range_beyond_the_end_is_an_error_and_never_less_than_asked(url: str) -> None:
    store = RemoteStore(url)
    store.put("one", b"0123")
    with pytest.raises(StoreError):
        store.ranges("one", [(2, 10)])


def test_an_object_is_never_overwritten_and_one_of_many_writers_wins(url: str) -> None:
    store = RemoteStore(url)
    assert store.put("config", b"first")
    assert not store.put("config", b"other")
    assert store.get("config") == b"first"
    wins: list[int] = []

    def write(number: int) -> None:
        for turn in range(5):
            if store.put(f"race/{turn}", b"%d" % number):
                wins.append(turn)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(wins) == list(range(5))


def test_a_large_object_goes_in_parts(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STORE_MULTIPART_BYTES", 6_000_000)
    monkeypatch.setattr(limits, "STORE_PART_BYTES", 5_500_000)
    store, data = RemoteStore(url), bytes(range(256)) * 50_000
    assert store.put("packs/aa/large", (data[at : at + 1_000_000] for at in range(0, len(data), 1_000_000)))
    assert store.get("packs/aa/large") == data
    assert not store.put("packs/aa/large", data)


def test_a_missing_bucket_and_a_server_that_is_away_are_told_apart(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    absent = RemoteStore("s3://holdfast-absent/x")
    for act in (lambda: absent.put("a", b"x"), lambda: absent.get("a"), lambda: list(absent.list(""))):
        with pytest.raises(StoreError, match="there is no bucket holdfast-absent") as caught:
            act()
        assert caught.value.lasting
    monkeypatch.setattr(limits, "STORE_RETRIES", 0)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(StoreError, match="cannot be reached") as caught:
        RemoteStore(url).put("a", b"x")
    assert not caught.value.lasting


def test_a_chain_of_snapshots_is_uploaded_and_rebuilt_from_the_bucket_alone(url: str, tmp_path: Path) -> None:
    state_dir = tmp_path / "state" / "assistant"
    local = Repository.create(LocalStore(state_dir / "repo"), "assistant", KEY, encrypt=True)
    made = [commit(local, {"count": b"%d" % n * 1000, "same": b"same"}, at=AT + n) for n in range(3)]
    result = bring(state_dir, url, "assistant", lambda done, total, what: None, now_at=AT + 10)
    assert result.lag.bytes == 0
    assert result.lag.newest_there_at == made[-1].at
    assert known_there(state_dir) == {one.name for one in made}
    again = bring(state_dir, url, "assistant", lambda done, total, what: None, now_at=AT + 20)
    assert (again.objects, again.deleted) == (0, 0)
    assert [(found.agent, found.snapshots, found.newest) for found in survey(url)] == [("assistant", 3, made[-1])]
    remote = open_remote(url, "assistant", KEY)
    assert contents(remote, made[1]) == {"count": b"1" * 1000, "same": b"same"}
    elsewhere = tmp_path / "elsewhere" / "assistant"
    bring_home(url, "assistant", elsewhere)
    home = Repository.open(LocalStore(elsewhere / "repo"), KEY)
    assert home.snapshots() == made
    assert contents(home, made[2])["count"] == b"2" * 1000
    assert standing(elsewhere, AT) is None


def test_no_error_repeats_keys_or_what_the_server_said(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STORE_RETRIES", 0)
    for endpoint in (f"http://127.0.0.1:{free_port()}", "http://192.0.2.1:1", "not a url"):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        with pytest.raises(StoreError) as caught:
            RemoteStore(url).put("a", b"x")
        said = str(caught.value)
        assert SECRET not in said
        assert "AKIA" not in said
        assert "Debug" not in said


XML = "Server returned non-2xx status code: {}: <Error><Code>{}</Code><Message>AKIASECRET</Message></Error>"


@pytest.mark.parametrize(
    ("text", "act", "words", "lasting"),
    [
        (XML.format("404 Not Found", "NoSuchBucket"), "put", "there is no bucket b", True),
        (XML.format("404 Not Found", "ContainerNotFound"), "list", "there is no bucket b", True),
        (XML.format("403 Forbidden", "AccessDenied"), "put", "may not create objects", True),
        (XML.format("403 Forbidden", "AccessDenied"), "delete", "may not delete", True),
        (XML.format("403 Forbidden", "SignatureDoesNotMatch"), "put", "credentials are wrong", True),
        (XML.format("403 Forbidden", "InvalidAccessKeyId"), "get", "credentials are wrong", True),
        (XML.format("400 Bad Request", "ExpiredToken"), "get", "have expired", True),
        (XML.format("403 Forbidden", "RequestTimeTooSkewed"), "get", "clocks differ", False),
        (XML.format("400 Bad Request", "AuthorizationHeaderMalformed"), "get", "another region", True),
        (XML.format("400 Bad Request", "InvalidBucketName"), "get", "no name", True),
        (XML.format("503 Service Unavailable", "SlowDown"), "put", "answered 503 SlowDown", False),
        (XML.format("429 Too Many Requests", "TooMany"), "put", "answered 429", False),
        (XML.format("501 Not Implemented", "NotImplemented"), "put", "only where there is none", True),
        ("status code: 403 Forbidden: ", "get", "may not read", True),
        ("status code: 401 Unauthorized: ", "get", "credentials are wrong", True),
        ("error performing PUT http://169.254.169.254/latest/api/token - timed out", "put", "no credentials", True),
        ("HTTP error: builder error", "put", "plain http", True),
        ("HTTP error: request or response body error: operation timed out", "get", "in time", False),
        ("after 1 retries, retry_timeout: 20s - HTTP error: error sending request", "put", "cannot be reached", False),
        ("invalid peer certificate: UnknownIssuer", "put", "certificate", True),
        ("something new", "put", "unknown reason", False),
    ],
)
def test_a_refusal_is_put_into_words(text: str, act: str, words: str, lasting: bool) -> None:
    sentence, found = explain(text, act, "b")
    assert words in sentence
    assert found is lasting
    assert "AKIASECRET" not in sentence


def test_a_profile_gives_its_keys_and_what_cannot_be_read_is_never_quoted(tmp_path: Path) -> None:
    credentials = "[default]\naws_access_key_id = A\naws_secret_access_key = S\n[work]\naws_access_key_id = B\n"
    config = "[default]\nregion = eu-west-1\nendpoint_url = https://s3.example\n[profile work]\nregion = us-east-2\n"
    assert aws_profile.settings(credentials, config, "default") == {
        "access_key_id": "A",
        "secret_access_key": "S",
        "region": "eu-west-1",
        "endpoint": "https://s3.example",
    }
    assert aws_profile.settings(credentials, config, "work") == {"access_key_id": "B", "region": "us-east-2"}
    with pytest.raises(StoreError, match="sso_session"):
        aws_profile.settings("", "[profile x]\nsso_session = y\n", "x")
    with pytest.raises(StoreError) as caught:
        aws_profile.settings("AKIASECRET without a section", "", "x")
    assert "AKIA" not in str(caught.value)
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text(credentials)
    environ = {"HOME": str(tmp_path)}
    assert aws_profile.from_files(environ)["access_key_id"] == "A"
    assert aws_profile.from_files({**environ, "AWS_ACCESS_KEY_ID": "X"}) == {}
    assert aws_profile.from_files({**environ, "AWS_PROFILE": "work", "AWS_REGION": "z"}) == {"access_key_id": "B"}
    with pytest.raises(StoreError, match="no profile absent"):
        aws_profile.from_files({**environ, "AWS_PROFILE": "absent"})


def test_plain_http_is_spoken_with_this_machine_alone() -> None:
    assert is_loopback("http://127.0.0.1:9000")
    assert is_loopback("http://[::1]:9000")
    assert is_loopback("http://localhost:9000/x")
    assert not is_loopback("http://10.0.0.5:9000")
    assert not is_loopback("http://127.0.0.1.example:9000")
    assert not is_loopback("")
    assert not may_speak_http("s3", "http://10.0.0.5:9000", {})
    assert may_speak_http("s3", "http://10.0.0.5:9000", {"AWS_ALLOW_HTTP": "true"})


def test_only_what_is_larger_than_one_request_is_cut() -> None:
    assert beginning(b"abc", 3) == (b"abc", None)
    assert beginning(iter((b"a", b"bc")), 3) == (b"abc", None)
    start, rest = beginning(iter((b"ab", b"cd", b"ef")), 3)
    assert rest is not None
    assert (start, b"".join(rest)) == (b"abcd", b"ef")
    start, rest = beginning(b"abcdef", 4)
    assert rest is not None
    assert start + b"".join(rest) == b"abcdef"
