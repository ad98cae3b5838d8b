"""Numbered errors: each says what happened, what Holdfast did, and what to do next.

The same code appears in logs, events, the API, `holdfast explain` and the runbooks. Codes are never reused.
HF1xxx the file a user wrote · HF2xxx agents · HF3xxx Holdfast's own processes · HF4xxx the machine ·
HF5xxx alerts · HF6xxx versioned state.

This is the door: `errors.NAME`, whatever module below holds it.
"""

from holdfast.errors.agents import *
from holdfast.errors.alerts import *
from holdfast.errors.catalogue import CATALOGUE as CATALOGUE
from holdfast.errors.catalogue import ErrorKind as ErrorKind
from holdfast.errors.catalogue import HoldfastError as HoldfastError
from holdfast.errors.fleet_file import *
from holdfast.errors.machine import *
from holdfast.errors.own import *
from holdfast.errors.state import *
