"""How many RPC images a second are simulated.

    python benchmarks/rpc_rate.py [--events 200000] [--rounds 7]

Each row is the median over the rounds; the rows take turns in every round, so that other load on
the machine falls on all of them. The goal is 100,000 images a second on two cores.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from hairtrigger.detectors import rpc


def rows(events: int, folder: Path) -> dict[str, Callable[[int], object]]:
    """What is timed: a name, and the work given the number of the round."""

    def simulate(**arguments) -> Callable[[int], object]:
        return lambda seed: rpc.simulate(events, seed=seed, **arguments)

    return {
        "0 to 3 muons, 1 thread": simulate(threads=1),
        "0 to 3 muons, 2 threads": simulate(threads=2),
        "noise only, 2 threads": simulate(muons=0, threads=2),
        "1 muon, 2 threads": simulate(muons=1, threads=2),
        "3 muons, 600 Hz/cm2, 2 threads": simulate(
            muons=3, threads=2, config=rpc.RpcConfig(noise_rate_hz_cm2=600.0)
        ),
        "0 to 3 muons, 4 rows, 2 threads": simulate(threads=2, config=rpc.RpcConfig(rows=4)),
        "into a store, 2 threads": lambda seed: rpc.simulate_to_store(
            folder / str(seed), events, seed=seed, threads=2
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Images simulated a second")
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    rpc.simulate(rpc.BLOCK_EVENTS, seed=0)  # the first call pays for imports
    with tempfile.TemporaryDirectory() as folder:
        work = rows(arguments.events, Path(folder))
        rates: dict[str, list[float]] = {name: [] for name in work}
        for seed in range(1, arguments.rounds + 1):
            for name, run in work.items():
                began = time.perf_counter()
                run(seed)
                rates[name].append(arguments.events / (time.perf_counter() - began))
    print(f"{'':32} {'median':>10} {'lowest':>10} {'highest':>10}   images a second")
    for name, found in rates.items():
        shown = (statistics.median(found), min(found), max(found))
        print(f"{name:32}", *(f"{rate:10,.0f}" for rate in shown))


if __name__ == "__main__":
    main()
