"""How guard and init are started: always the same few arguments, an isolated interpreter, a clean environment.

Called by `holdfast up` and by a keeper that finds guard and init both dead. Starting is idempotent: the guard that
cannot take the home's lock leaves.
"""

from __future__ import annotations

import json
import os
import sys

PACKAGE_PARENT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
PASSED_ENV = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TZ", "XDG_RUNTIME_DIR"),
    *("HOLDFAST_CGROUPS", "HOLDFAST_USERS", "HOLDFAST_PUSH_PORT"),  # choices made for this home at `up`
    "HOLDFAST_CLOCK_FILE",  # a drill of the clock; see holdfast.clock
    *("PYTHONPATH", "PYTHONDONTWRITEBYTECODE"),  # where keeper and logger find what `up` found
    # Of the second place of snapshots. No agent sees them: its environment is made from nothing (pods/environment).
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION"),
    *("AWS_DEFAULT_REGION", "AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ALLOW_HTTP"),
    *("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE", "AWS_CA_BUNDLE", "AWS_VIRTUAL_HOSTED_STYLE_REQUEST"),
    *("AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_STS_ENDPOINT"),
    *("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
    *("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "AWS_METADATA_ENDPOINT", "AWS_IMDSV1_FALLBACK"),
    *("AWS_SERVER_SIDE_ENCRYPTION", "AWS_SSE_KMS_KEY_ID", "AWS_REQUEST_PAYER"),
    *("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_PATH"),
    *("GOOGLE_SERVICE_ACCOUNT_KEY", "GOOGLE_BASE_URL", "GOOGLE_ALLOW_HTTP"),
    *("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_CLIENT_ID"),
    *("AZURE_STORAGE_CLIENT_SECRET", "AZURE_STORAGE_TENANT_ID", "AZURE_STORAGE_ENDPOINT", "AZURE_CLIENT_ID"),
    *("AZURE_CLIENT_SECRET", "AZURE_TENANT_ID", "AZURE_FEDERATED_TOKEN_FILE", "AZURE_ALLOW_HTTP"),
)


def interpreter_argv(module: str, *arguments: str) -> list[str]:
    """Command line that runs `holdfast.init.MODULE`.main with the standard library alone."""
    boot = f"import sys; sys.path.insert(0, {PACKAGE_PARENT!r}); from holdfast.init.{module} import main; main()"
    return [sys.executable, "-I", "-S", "-c", boot, *arguments]


def own_code() -> dict[str, str]:
    """Which code this process runs, in the words of services.json."""
    return {"python": sys.executable, "parent": PACKAGE_PARENT}


def chosen_argv(home: str, module: str, *arguments: str) -> list[str]:
    """As `interpreter_argv`, with the code that `up` or an upgrade chose last; with our own where that is gone."""
    try:
        with open(f"{home}/services.json") as file:
            code = json.load(file)["code"]
        python, parent = str(code["python"]), str(code["parent"])
    except (OSError, ValueError, KeyError, TypeError):
        return interpreter_argv(module, *arguments)
    argv = interpreter_argv(module, *arguments)
    if os.access(python, os.X_OK) and os.path.isfile(f"{parent}/holdfast/init/{module}.py"):
        argv[0] = python
        argv[4] = argv[4].replace(repr(PACKAGE_PARENT), repr(parent), 1)
    return argv


class Options:
    """Command line of guard and init, `--name value` pairs written by this package itself.

    Not argparse: it would cost each of these processes a megabyte for as long as they live.
    """

    def __init__(self, arguments: list[str]) -> None:
        given = dict(zip(arguments[::2], arguments[1::2], strict=True))
        self.home = given["--home"]
        self.run = given["--run"]
        self.lock_fd = int(given.get("--lock-fd", -1))  # -1: not inherited
        self.notify_fd = int(given.get("--notify-fd", -1))
        self.guard_fd = int(given.get("--guard-fd", -1))
        self.restarts = int(given.get("--restarts", 0))
        self.guard_restarts = int(given.get("--guard-restarts", 0))
        self.init_restarts = int(given.get("--init-restarts", 0))
        self.check = given.get("--check") == "yes"
        self.nofile = -1  # our soft limit before we raised it; agents get it back


def environment() -> dict[str, str]:
    """What Holdfast's own processes inherit; markers of an outer supervisor stay outside."""
    return {name: os.environ[name] for name in PASSED_ENV if name in os.environ}


def start_guard(home: str, run: str) -> int:
    """Start a guard detached from us and return its pid. When the home is owned already it leaves at once."""
    log = os.open(f"{home}/log/guard.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    report_read, report_write = os.pipe()
    middle = os.fork()
    if middle == 0:
        try:
            os.setsid()
            pid = os.fork()
            if pid:
                os.write(report_write, str(pid).encode())
                os._exit(0)
            null = os.open("/dev/null", os.O_RDONLY)
            for target, source in ((0, null), (1, log), (2, log)):
                os.dup2(source, target)
            os.closerange(3, 4096)
            os.chdir("/")
            argv = interpreter_argv("guard", "--home", home, "--run", run)
            os.execve(argv[0], argv, environment())
        finally:
            os._exit(127)
    os.close(report_write)
    os.close(log)
    os.waitpid(middle, 0)
    with os.fdopen(report_read, "rb") as file:
        return int(file.read() or b"0")
