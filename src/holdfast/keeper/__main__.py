"""`python -m holdfast.keeper --home HOME`: joins the keeper with its API, which stands one layer above it."""

from __future__ import annotations

import sys

from holdfast.api.serve import serve_keeper
from holdfast.keeper.main import main

sys.exit(main(serve_keeper))
