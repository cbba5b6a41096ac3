"""`compare`: one benchmark, ours against its peers in turns, with everything a reader needs in extra_info."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from . import inputs, measure


@pytest.fixture
def compare(benchmark: Any) -> Callable[..., None]:
    """Time `ours` with pytest-benchmark; before each of its rounds every peer runs once and is timed too.

    `compare(ours, peers, megapixels=..., gigabytes=..., gigaflops=..., against=...)`: the work of one call turns times
    into MP/s, GB/s and GFLOP/s; `against` names the peers that give the same result (the ratio is taken to the best of
    them; default all).
    """

    def run(
        ours: Callable[[], Any],
        peers: Mapping[str, Callable[[], Any]] | None = None,
        *,
        megapixels: float = 0.0,
        gigabytes: float = 0.0,
        gigaflops: float = 0.0,
        images: int = 0,
        against: tuple[str, ...] | None = None,
        target: float = 0.0,
        seconds: float = 2.0,
    ) -> None:
        peers = dict(peers or {})
        times: dict[str, list[float]] = {name: [] for name in peers}

        def turn_of_the_peers() -> None:
            for name, peer in peers.items():
                start = time.perf_counter()
                peer()
                times[name].append(time.perf_counter() - start)

        # One turn warms everybody up and says how many turns fit.
        start = time.perf_counter()
        ours()
        turn_of_the_peers()
        turn_s = time.perf_counter() - start
        for values in times.values():
            values.clear()
        rounds = 1 if measure.SMOKE else max(3, min(40, int(seconds / max(turn_s, 1e-9))))
        benchmark.pedantic(ours, setup=turn_of_the_peers, rounds=rounds, warmup_rounds=0)

        best = {name: min(values) for name, values in times.items()}
        same = {name: best[name] for name in (against or tuple(best)) if name in best}
        benchmark.extra_info.update(
            megapixels=megapixels,
            gigabytes=gigabytes,
            gigaflops=gigaflops,
            images=images,
            peers_min_s=best,
            peers_median_s={name: statistics.median(values) for name, values in times.items()},
            ratio_to=min(same, key=lambda name: same[name]) if same else "",
            ratio=min(same.values()) / benchmark.stats.stats.min if same else 0.0,
            target=target,
            peak_memory_mib=measure.peak_memory_mib(),
        )

    return run


def pytest_benchmark_update_json(config: Any, benchmarks: Any, output_json: dict[str, Any]) -> None:
    """The machine and its measured ceilings go into the report."""
    inputs.settle_threads()
    output_json["pydegrade_machine"] = measure.machine()
