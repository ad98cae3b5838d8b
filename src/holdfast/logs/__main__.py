"""`python -m holdfast.logs --home HOME`: the logger process. Called by init."""

from __future__ import annotations

import sys

from holdfast.logs.logger import main

sys.exit(main(sys.argv[1:]))
