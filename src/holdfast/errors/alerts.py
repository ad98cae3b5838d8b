"""Alerts: HF5xxx."""

from holdfast.errors.catalogue import entry as _kind

ALERT_UNTESTED = _kind(
    "HF5001",
    "AlertUntested",
    "no test alert has got through yet: nobody would be told",
    "Set `alerts:` in holdfast.yaml and run `holdfast alert test`.",
)
ALERT_FAILED = _kind(
    "HF5002",
    "AlertFailed",
    "an alert through {channel} did not get through: {reason}",
    "Correct `alerts:` in holdfast.yaml and run `holdfast alert test`.",
)
