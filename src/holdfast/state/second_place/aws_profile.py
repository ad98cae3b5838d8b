"""Credentials from a profile of the AWS tools: ~/.aws/credentials and ~/.aws/config. Pure but for `from_files`.

The client library reads the environment and asks the machine's role; profiles it does not know. Only static keys are
taken: what a profile would have to run or to log in for is refused by name. Called by remote_store.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from configparser import ConfigParser, Error
from pathlib import Path

from holdfast.state.store.objects import StoreError

_DYNAMIC = ("credential_process", "sso_session", "sso_start_url", "role_arn", "credential_source")


def chosen(environ: Mapping[str, str]) -> str | None:
    """The profile to read; None: the environment has keys of its own, or a role that the client library takes."""
    if environ.get("AWS_PROFILE"):
        return environ["AWS_PROFILE"]
    own = ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_SKIP_SIGNATURE")
    roles = ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI")
    return None if any(environ.get(name) for name in (*own, *roles)) else "default"


def settings(credentials: str, config: str, name: str) -> dict[str, str]:
    """Of one profile, in the client library's words; empty when there is no such profile. Raises StoreError."""
    found: dict[str, str] = {}
    sections = ((config, name if name == "default" else f"profile {name}"), (credentials, name))
    for text, section in sections:
        parser = ConfigParser(interpolation=None, strict=False)
        try:
            parser.read_string(text)
        except Error:
            # Its own message quotes the line, which may hold a key.
            raise StoreError("the files in ~/.aws cannot be read as profiles", lasting=True) from None
        if parser.has_section(section):
            found.update(parser.items(section))
    if "aws_access_key_id" not in found:
        dynamic = next((key for key in _DYNAMIC if key in found), None)
        if dynamic is not None:
            raise StoreError(
                f"profile {name} has no keys of its own ({dynamic}): give them in the environment, or use a role",
                lasting=True,
            )
    names = {
        "aws_access_key_id": "access_key_id",
        "aws_secret_access_key": "secret_access_key",
        "aws_session_token": "session_token",
        "region": "region",
        "endpoint_url": "endpoint",
    }
    return {ours: found[theirs] for theirs, ours in names.items() if theirs in found}


def from_files(environ: Mapping[str, str]) -> dict[str, str]:
    """What the chosen profile says, less what the environment says itself. Raises StoreError."""
    name = chosen(environ)
    if name is None:
        return {}
    folder = Path(environ.get("HOME") or "/nonexistent") / ".aws"
    credentials = Path(environ.get("AWS_SHARED_CREDENTIALS_FILE") or folder / "credentials")
    config = Path(environ.get("AWS_CONFIG_FILE") or folder / "config")
    found = settings(_text(credentials), _text(config), name)
    if not found and environ.get("AWS_PROFILE"):
        raise StoreError(f"there is no profile {name} in {credentials}", lasting=True)
    if any(environ.get(variable) for variable in ("AWS_REGION", "AWS_DEFAULT_REGION")):
        found.pop("region", None)
    if any(environ.get(variable) for variable in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")):
        found.pop("endpoint", None)
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""
