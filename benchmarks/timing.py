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
