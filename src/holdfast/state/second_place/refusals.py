"""What a bucket's refusal means, in words for people. Pure.

Invariant: nothing of the server's answer or of the client library's message is repeated except a short error code and
the status: both messages may hold keys, tokens and signatures. Called by remote_store.py.
"""

from __future__ import annotations

import re

_CODE = re.compile(r"<Code>([A-Za-z0-9_.-]{1,64})</Code>")
_STATUS = re.compile(r"status code: (\d{3})\b")
_NO_BUCKET = {"NoSuchBucket", "ContainerNotFound", "ContainerBeingDeleted"}
_NO_OBJECT = {"", "404", "NoSuchKey", "NotFound", "BlobNotFound"}
_BAD_NAME = {"InvalidBucketName", "InvalidResourceName"}
_WRONG_KEYS = {
    *("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidSecurity", "AuthenticationFailed"),
    *("InvalidAuthenticationInfo", "InvalidToken", "TokenRefreshRequired", "XAdminUserNotFound"),
}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired"}
_SKEWED = {"RequestTimeTooSkewed"}
_ELSEWHERE = {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
# Where client libraries look for a machine's own role when they were given no credentials.
_METADATA = ("169.254.169.254", "169.254.170.2", "metadata.google.internal", "metadata/identity")
_RENEW = "correct them in ~/.aws, which is read each time, or where Holdfast is started"
_VERBS = {"put": "create objects", "get": "read", "list": "list", "delete": "delete"}


def code_of(text: str) -> str:
    """The server's own short error code, or the status, or nothing."""
    found = _CODE.search(text)
    if found is not None:
        return found[1]
    status = _STATUS.search(text)
    return status[1] if status is not None else ""


def is_missing(text: str) -> bool:
    """Whether a "not found" is about the object asked for, and not about its bucket or our keys."""
    return code_of(text) in _NO_OBJECT


def explain(text: str, act: str, bucket: str) -> tuple[str, bool]:
    """The sentence, and whether it is lasting. `text`: the client library's. `act`: put, get, list or delete."""
    code = code_of(text)
    status = _STATUS.search(text)
    shown = " ".join(dict.fromkeys(part for part in (status[1] if status else "", code) if part))
    if any(place in text for place in _METADATA):
        return (
            "no credentials were found: they come from the environment of `holdfast up`, from a profile in ~/.aws, "
            "or from the machine's role"
        ), True
    if code in _NO_BUCKET or (act == "list" and code == "404"):
        return f"there is no bucket {bucket}: create it, or correct `state.store`", True
    if code in _BAD_NAME:
        return f"{bucket} is no name that this server allows for a bucket", True
    if code in _EXPIRED:
        return f"the credentials have expired ({shown}): {_RENEW}", True
    if code in _WRONG_KEYS or "401" in shown:
        return f"the credentials are wrong ({shown}): {_RENEW}", True
    if code in _SKEWED:
        return f"the clocks differ too much ({shown}): set this machine's clock", False
    if code in _ELSEWHERE or "incorrectly configured region" in text:
        return f"the bucket is in another region ({shown or 'redirect'}): set AWS_REGION", True
    if "403" in shown or code in ("AccessDenied", "AllAccessDisabled", "AuthorizationFailure"):
        return f"the server refuses ({shown}): these credentials may not {_VERBS.get(act, act)} there", True
    return _rest(text, code, shown)


def _rest(text: str, code: str, shown: str) -> tuple[str, bool]:
    """What remains: the line, the server's own troubles, and what nobody foresaw."""
    if code in ("501", "NotImplemented"):
        return f"the server cannot create objects only where there is none ({shown}): use one that can", True
    if "builder error" in text:
        return "its endpoint is plain http: use https, or say AWS_ALLOW_HTTP=true where `holdfast up` is called", True
    if "Account must be specified" in text:
        return "no account was given: set AZURE_STORAGE_ACCOUNT_NAME where `holdfast up` is called", True
    if "timed out" in text or ("timeout" in text.lower().replace("retry_timeout", "") and not shown):
        return "the server did not answer in time", False
    if "certificate" in text.lower():
        return "the server's certificate is not trusted here: give its authority's as AWS_CA_BUNDLE", True
    if shown:
        return f"the server answered {shown}", shown[:1] == "4" and shown[:3] not in ("408", "409", "425", "429")
    if "error sending request" in text or "connect" in text.lower():
        return "the server cannot be reached", False
    return "the request failed for an unknown reason", False
