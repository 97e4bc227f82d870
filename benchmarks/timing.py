"""How the benchmarks take time."""

import time
from collections.abc import Callable


def timed(work: Callable[[], object], repeats: int) -> list[float]:
    """Seconds of some runs; a first one is not counted."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return times


def in_turns(ways: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Seconds of some runs of each way, taken in turns; a first round is not counted."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(repeats + 1):
        for name, work in ways.items():
            start = time.perf_counter()
            work()
            times[name] += [time.perf_counter() - start] * (turn > 0)
    return times
