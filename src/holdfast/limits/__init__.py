"""Every bound and default, once, each with its reason. Units are in the names."""

from __future__ import annotations

from holdfast.limits.density import *
from holdfast.limits.fleet_file import *
from holdfast.limits.healing import *
from holdfast.limits.health import *
from holdfast.limits.incidents import *
from holdfast.limits.logs import *
from holdfast.limits.own import *
from holdfast.limits.places import *
from holdfast.limits.state import *
