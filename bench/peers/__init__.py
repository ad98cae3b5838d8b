"""The supervisors that are measured, one module each."""

from __future__ import annotations

from bench.peers.base import Peer
from bench.peers.circus import Circus
from bench.peers.holdfast import Holdfast
from bench.peers.pm2 import Pm2
from bench.peers.runit import Runit
from bench.peers.s6 import S6
from bench.peers.supervisord import Supervisord

ALL: tuple[type[Peer], ...] = (Holdfast, Runit, S6, Pm2, Supervisord, Circus)
