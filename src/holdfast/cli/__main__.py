"""`python -m holdfast.cli`: the same as the `holdfast` command, for where no script is installed."""

from __future__ import annotations

from holdfast.cli.main import main

main()
