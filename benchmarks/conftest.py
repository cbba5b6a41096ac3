"""`compare`: one benchmark, ours against its peers in turns, with everything a reader needs in extra_info."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import pytest

from . import inputs, measure, peers


@pytest.fixture
def compare(benchmark: Any) -> Callable[..., None]:
    """Verify the peers' results, then time `ours` with pytest-benchmark; before each of its rounds every peer runs once
    and is timed too.

    `compare(ours, contenders, megapixels=..., ...)`: the work of one call turns times into MP/s, GB/s (every byte of input
    and result once) and GFLOP/s or Gop/s. The ratio is taken to the best peer whose result is the same; `target` is what
    is wanted against the best of the peers named in `against`.
    """

    def run(
        ours: Callable[[], Any],
        contenders: Sequence[peers.Peer] = (),
        *,
        megapixels: float = 0.0,
        gigabytes: float = 0.0,
        gigaflops: float = 0.0,
        gigaops: float = 0.0,
        images: int = 0,
        threads: int = inputs.THREADS,
        target: float = 0.0,
        against: tuple[str, ...] = ("torch eager", "opencv", "pillow"),
        seconds: float = 2.0,
        least_rounds: int = 3,
        **more: Any,
    ) -> None:
        # Results first. This turn also warms everybody up and says how many turns fit.
        start = time.perf_counter()
        made = ours()
        turn_s = time.perf_counter() - start
        agreements = {}
        for peer in contenders:
            start = time.perf_counter()
            theirs = peer.run()
            turn_s += time.perf_counter() - start
            agreements[peer.name] = _agreement(peer, made, theirs)

        times: dict[str, list[float]] = {peer.name: [] for peer in contenders}
        busy: dict[str, list[float]] = {"ours": [], **{peer.name: [] for peer in contenders}}

        def turn_of_the_peers() -> None:
            for peer in contenders:
                start, busy_before = time.perf_counter(), measure.busy_s()
                peer.run()
                times[peer.name].append(time.perf_counter() - start)
                busy[peer.name].append(measure.busy_s() - busy_before)

        def our_turn() -> None:
            busy_before = measure.busy_s()
            ours()
            busy["ours"].append(measure.busy_s() - busy_before)

        rounds = 1 if measure.SMOKE else max(least_rounds, min(40, int(seconds / max(turn_s, 1e-9))))
        benchmark.pedantic(our_turn, setup=turn_of_the_peers, rounds=rounds, warmup_rounds=0)

        least = {name: min(values) for name, values in times.items()}
        least_busy = {name: min(values) for name, values in busy.items()}
        same = {peer.name: least[peer.name] for peer in contenders if peer.agreement is not None}
        best = min(same, key=lambda name: same[name]) if same else ""
        named = [same[name] for name in against if name in same]
        benchmark.extra_info.update(
            megapixels=megapixels,
            gigabytes=gigabytes,
            gigaflops=gigaflops,
            gigaops=gigaops,
            images=images,
            threads=threads,
            peers={
                peer.name: {
                    "min_s": least[peer.name],
                    "median_s": statistics.median(times[peer.name]),
                    "busy_s": least_busy[peer.name],
                    "same_result": peer.agreement is not None,
                    "agreement": agreements[peer.name],
                    "note": peer.note,
                }
                for peer in contenders
            },
            busy_s=least_busy["ours"],
            process_peak_mib=measure.peak_rss_mib(),
            best_peer=best,
            ratio=same[best] / benchmark.stats.stats.min if same else 0.0,
            busy_ratio=least_busy[best] / least_busy["ours"] if same else 0.0,
            target=target if named else 0.0,
            target_peers=[name for name in against if name in same],
            target_reached=min(named) / benchmark.stats.stats.min if named else 0.0,
            target_reached_busy=min(least_busy[name] for name in against if name in same) / least_busy["ours"]
            if named
            else 0.0,
            **more,
        )

    return run


def _agreement(peer: peers.Peer, ours: Any, theirs: Any) -> str:
    """Raise when a peer's result is not ours; otherwise say how close it is."""
    if peer.agreement is None:
        return f"not compared: {peer.note}"
    error = peer.agreement.error(peers.as_tensor(ours), peers.as_tensor(theirs))
    assert error <= peer.agreement.tolerance, (
        f"{peer.name}: {error:g} from ours, at most {peer.agreement.tolerance:g} expected ({peer.agreement.reason})"
    )
    return f"{error:.2g} of {peer.agreement.tolerance:.2g} ({peer.agreement.reason})"


def pytest_benchmark_update_json(config: Any, benchmarks: Any, output_json: dict[str, Any]) -> None:
    """The machine, its measured ceilings and the libraries go into the report."""
    output_json["pydegrade"] = {
        "machine": measure.machine(inputs.THREADS),
        "ceilings": {str(threads): asdict(measure.ceilings(threads)) for threads in sorted({1, inputs.THREADS})},
        "libraries": peers.summary(),
        "batch": inputs.BATCH,
        "side_px": inputs.SIDE_PX,
        "seed": inputs.SEED,
    }
