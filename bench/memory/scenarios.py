"""The scenarios: a node, agents that matter and beat, agents that do not and grow. Data and pure rules.

forky: many small processes, each smaller than an agent that matters. four: four at once, each larger than the node.
fat: the one that matters is the largest. seed4g: one large agent, which every killer finds.
"""

from __future__ import annotations

from dataclasses import dataclass

IMPORTANT = 100  # priority of the agents that matter
REST_MB = 20  # at most: what an agent holds when its spike is over, or when it was started again since
SPARE_MB = 24  # of a start, beside what the agent says: REST_MB must fit


@dataclass(frozen=True, slots=True)
class Growth:
    """An agent that grows: `processes` of it, each `from_mb` to `to_mb` at `mb_per_s`, beginning after `delay_s`."""

    processes: int
    from_mb: int
    to_mb: int
    mb_per_s: float
    delay_s: float


@dataclass(frozen=True, slots=True)
class Scenario:
    name: str
    words: str
    node_mb: int
    innocents_mb: tuple[int, ...]
    growths: tuple[Growth, ...]
    lasts_s: float  # from the first growth
    reserve_mb: int | None = None  # declared; None: as Holdfast finds it
    patience: float = 1.0  # how many times as long this harness waits; never Holdfast itself

    @property
    def innocents(self) -> list[str]:
        return [f"agent{number}" for number in range(len(self.innocents_mb))]

    @property
    def growing(self) -> list[str]:
        """Priority of the n-th: n."""
        return [f"s{number}" for number in range(len(self.growths))]

    def beat_words(self, number: int) -> list[str]:
        """What an agent that matters does with its memory; see agent.c."""
        return ["beat", str(self.innocents_mb[number])]

    def growth_words(self, number: int) -> list[str]:
        one = self.growths[number]
        rest_mb = min(REST_MB, one.to_mb)
        return ["grow", *(str(each) for each in (one.processes, one.from_mb, one.to_mb, one.mb_per_s, rest_mb))]

    def start_mb(self, number: int) -> int:
        """What the start of a growing agent needs: all it holds before it grows, and its program."""
        one = self.growths[number]
        return SPARE_MB + (one.from_mb if one.processes == 1 else 0)


_TEN = (100,) * 10

ALL = {
    one.name: one
    for one in (
        Scenario(
            "forky",
            "4 agents of 10 processes, each 5 to 90 MB at 150 MB/s, 200 ms apart; 10 that matter with 100 MB",
            2048,
            _TEN,
            tuple(Growth(10, 5, 90, 150, 0.2 * number) for number in range(4)),
            10.0,
        ),
        Scenario(
            "four",
            "4 agents of one process, 20 to 2,000 MB at 1,000 MB/s, at once; 10 that matter with 100 MB",
            2048,
            _TEN,
            tuple(Growth(1, 20, 2000, 1000, 0.0) for _ in range(4)),
            10.0,
        ),
        Scenario(
            "fat",
            "4 agents of one process, 20 to 600 MB at 400 MB/s, at once; 1 that matters with 700 MB, 6 with 50 MB",
            2048,
            (700, 50, 50, 50, 50, 50, 50),
            tuple(Growth(1, 20, 600, 400, 0.0) for _ in range(4)),
            10.0,
        ),
        Scenario(
            "seed4g",
            "1 agent, 467 to 7,500 MB at 352 MB/s; 10 that matter with 100 MB",
            4096,
            _TEN,
            (Growth(1, 467, 7500, 352, 0.0),),
            16.0,
        ),
        Scenario(
            "emulated",
            "for an emulated machine: 1 agent of 4 processes, each 2 to 50 MB at 2 MB/s, and 1 of one process, 8 to "
            "200 MB at 6 MB/s; 3 that matter with 8, 8 and 24 MB",
            280,
            (8, 8, 24),
            (Growth(4, 2, 50, 2, 0.0), Growth(1, 8, 200, 6, 0.0)),
            60.0,
            reserve_mb=40,
            patience=8.0,
        ),
        Scenario(
            "emulated-slow",
            "the same, but slower by far, so that a keeper that takes half a minute to come back comes in time",
            280,
            (8, 8, 24),
            (Growth(4, 2, 50, 0.25, 0.0), Growth(1, 8, 200, 1, 0.0)),
            150.0,
            reserve_mb=40,
            patience=8.0,
        ),
        Scenario("idle", "100 agents that do nothing", 4096, (), (Growth(1, 3, 3, 1, 0.0),) * 100, 33.0),
    )
}
