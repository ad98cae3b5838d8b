"""From an answer to a verdict."""

import pytest

from holdfast.health.answer import Answer
from holdfast.health.body import judge
from holdfast.health.model import Verdict
from holdfast.spec.model import HttpProbe

PLAIN = HttpProbe(url="http://127.0.0.1:1/health")
STATUS = HttpProbe(url="http://127.0.0.1:1/", expect={"status": "live", "ok": True})
DEEP = HttpProbe(url="http://127.0.0.1:1/", expect={"checks.0.state": "up", "n": 1})
AGED = HttpProbe(url="http://127.0.0.1:1/", age_field="uptimeMs", age_unit_s=0.001)


def reply(body: bytes, status: int = 200, kind: bytes = b"application/json") -> Answer:
    return Answer(status, kind, body, True)


TABLE = [
    (PLAIN, reply(b"fine", kind=b"text/plain"), Verdict.OK, ""),
    (PLAIN, reply(b"", 204), Verdict.OK, ""),
    (PLAIN, reply(b"", 500), Verdict.FAILING, "HTTP 500"),
    (PLAIN, reply(b"", 503), Verdict.FAILING, "HTTP 503"),
    (PLAIN, reply(b"", 302), Verdict.FAILING, "HTTP 302, and redirects are not followed"),
    (PLAIN, reply(b"", 404), Verdict.FAILING, "HTTP 404"),
    (PLAIN, reply(b"<html>", kind=b"text/html"), Verdict.FAILING, "HTML"),
    (STATUS, reply(b'{"ok":true,"status":"live"}'), Verdict.OK, ""),
    (STATUS, reply(b'{"ok":true,"status":"live"}', kind=b""), Verdict.OK, ""),
    (STATUS, reply(b"", 204), Verdict.FAILING, "HTTP 204"),
    (STATUS, reply(b"<html>", kind=b"text/html"), Verdict.FAILING, "HTML"),
    (HttpProbe(url="http://127.0.0.1:8080/"), reply(b"<html>", kind=b"text/html"), Verdict.OK, ""),
    (HttpProbe(url="http://127.0.0.1:8080"), reply(b"<html>", kind=b"text/html"), Verdict.OK, ""),
    (HttpProbe(url="http://127.0.0.1:8080/up.html"), reply(b"<html>", kind=b"text/html"), Verdict.OK, ""),
    (STATUS, reply(b"live"), Verdict.FAILING, "not JSON"),
    (STATUS, reply(b"\xff\xfe"), Verdict.FAILING, "not JSON"),
    (STATUS, reply(b""), Verdict.FAILING, "not JSON"),
    (STATUS, reply(b'"live"'), Verdict.FAILING, "status is absent"),
    (STATUS, reply(b'{"ok":1,"status":"live"}'), Verdict.FAILING, "ok is 1, expected true"),
    (STATUS, reply(b'{"ok":true,"status":"draining"}'), Verdict.FAILING, 'status is "draining", expected "live"'),
    (STATUS, reply(b'{"ok":true,"status":{}}'), Verdict.FAILING, "status is an object"),
    (DEEP, reply(b'{"checks":[{"state":"up"}],"n":1.0}'), Verdict.OK, ""),
    (DEEP, reply(b'{"checks":[],"n":1}'), Verdict.FAILING, "absent"),
    (DEEP, reply(b'{"checks":[{"state":"up"}],"n":true}'), Verdict.FAILING, "n is true, expected 1"),
    (AGED, reply(b'{"uptimeMs":9000}'), Verdict.OK, ""),
    (AGED, reply(b'{"uptimeMs":11900}'), Verdict.OK, ""),
    (AGED, reply(b'{"uptimeMs":12100}'), Verdict.FOREIGN, "12 s old"),
    (AGED, reply(b'{"uptimeMs":86400000}'), Verdict.FOREIGN, "86400 s old"),
    (AGED, reply(b'{"uptimeMs":"9000"}'), Verdict.FAILING, "expected the server's age"),
    (AGED, reply(b'{"uptimeMs":true}'), Verdict.FAILING, "expected the server's age"),
    (AGED, reply(b"{}"), Verdict.FAILING, "uptimeMs is absent"),
]


@pytest.mark.parametrize(("probe", "answer", "verdict", "words"), TABLE)
def test_an_answer_gets_its_verdict(probe: HttpProbe, answer: Answer, verdict: Verdict, words: str) -> None:
    found, detail = judge(probe, answer, age_s=10.0)
    assert found == verdict
    assert words in detail
    assert (detail == "") == (verdict == Verdict.OK)
