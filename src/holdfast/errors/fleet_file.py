"""What a user wrote: HF1xxx."""

from holdfast.errors.catalogue import entry as _kind

SPEC_INVALID = _kind(
    "HF1001",
    "SpecInvalid",
    "{file} has {errors}:\n{problems}",
    "Correct the lines named, then run `holdfast check -f {file}`. Nothing was changed.",
    2,
)
SPEC_NOT_FOUND = _kind(
    "HF1002",
    "SpecNotFound",
    "there is no file {file}",
    "Name another with -f FILE, or write one: see examples/fleet.yaml.",
    2,
)
SPEC_UNREADABLE = _kind(
    "HF1003",
    "SpecUnreadable",
    "{file} cannot be read: {reason}",
    "Check its permissions; it must be a UTF-8 text file of at most 1 MiB.",
    2,
)
UNKNOWN_ERROR_CODE = _kind(
    "HF1010",
    "UnknownErrorCode",
    "there is no error {code}",
    "List them all with `holdfast explain`.",
    4,
)
USAGE = _kind("HF1011", "Usage", "{reason}", "See `{command} --help`.", 2)
