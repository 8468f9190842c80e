"""Networks of coins by the peer hepinfo and by us, on the same generated candidates.

Both train 45-64-32 coins with a price of the mutual information of the last layer's bits with the
origin. hepinfo's way with the data is kept: candidates of the control channel are background for
it, and signal and background of the training sample carry their own origin (which makes its S the
label there). Ours takes the origin from the control channel alone, and forgets pile-up too, as in
the study. Candidates, inputs, epochs, batch and learning rate are the same; hepinfo's gamma is its
own. Each is judged as it decides: hepinfo's network of trained coins takes the likelier side at
inference; ours tosses once, averages 16 tosses, or takes the likelier side. hepinfo is 0.1.4, with
the packages of hepinfo-requirements.txt.

So this compares two ways to set the task more than two layers. hepinfo's price falls on the label
itself in the training sample, and control candidates, which look like signal, are background to it:
that alone explains a lower AUC, and that it goes with gamma. Neither side was tuned here. The two
gammas are of different losses. Times are of one busy core.

    python benchmarks/beside_hepinfo.py [--events 20000] [--seeds 2] [--out docs/benchmarks/hepinfo]

Needs `make hepinfo`.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from written import ROOT, stamp, write_tables

from hairtrigger import metrics_blind
from hairtrigger.studies import tau3mu
from hairtrigger.studies.tau3mu_figures import judged_ways, ks
from hairtrigger.studies.tau3mu_recipe import DEFAULT

PYTHON = ROOT / ".venv-hepinfo" / "bin" / "python"
GAMMAS = (0.0, 0.1, 0.3, 1.0, 3.0)


def arranged(samples: tau3mu.Samples) -> dict[str, np.ndarray]:
    """What hepinfo trains on, and what it is to judge."""
    signal, simulated = samples.train.targets[:, 0], samples.train.targets[:, 1]
    control = ~np.isnan(simulated)
    assert samples.same_origin is not None
    return {
        "x": samples.train.inputs,
        "y": np.where(control, 0, signal)[:, None],
        "s": np.where(control, simulated, signal),
        "judge/test": samples.scaler(samples.test),
        "judge/agreement": samples.scaler(samples.agreement),
        "judge/same_origin": samples.scaler(samples.same_origin),
    }


def theirs(
    samples: tau3mu.Samples, gamma: float, seed: int, epochs: int, folder: Path
) -> dict[str, Any]:
    given, said = folder / "samples.npz", folder / "said.npz"
    np.savez(given, allow_pickle=False, **arranged(samples))
    numbers = (gamma, seed, epochs, DEFAULT.batch, DEFAULT.learning_rate)
    script = Path(__file__).with_name("hepinfo_peer.py")
    command = [PYTHON, script, given, said, *map(str, numbers)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    found = np.load(said)
    same = samples.same_origin
    assert same is not None
    return {
        "AUC": metrics_blind.auc(samples.test.extra["signal"] == 1, found["judge/test"]),
        "AUC one origin": metrics_blind.auc(same.extra["signal"] == 1, found["judge/same_origin"]),
        "KS": ks(found["judge/agreement"], samples.agreement),
        "s": float(found["seconds"]),
    }


def ours(samples: tau3mu.Samples, gamma: float, seed: int, epochs: int) -> dict[str, Any]:
    """Figures by way of deciding."""
    started = time.monotonic()
    model, _ = tau3mu.train("coins", gamma, samples, epochs, seed)
    seconds = time.monotonic() - started
    return {
        way: {"AUC": f.auc, "AUC one origin": f.true_auc, "KS": f.ks, "s": seconds}
        for way, f in judged_ways("coins", model, samples, seed).items()
    }


def rows_of(name: str, gamma: float, found: list[dict[str, Any]]) -> dict[str, Any]:
    row: dict[str, Any] = {"network": name, "gamma": gamma}
    for key in found[0]:
        values = np.array([figures[key] for figures in found])
        error = values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else 0.0
        digits = 1 if key == "s" else 4
        row[key] = f"{values.mean():.{digits}f} ± {error:.{digits}f}"
    print(row, flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    preset = replace(tau3mu.DEMO, train_events=chosen.events)
    samples = tau3mu.simulate(preset, 1)
    seeds = range(1, chosen.seeds + 1)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for gamma in GAMMAS:
            each = [theirs(samples, gamma, n, chosen.epochs, Path(folder)) for n in seeds]
            rows.append(rows_of("hepinfo", gamma, each))
            mine = [ours(samples, gamma, n, chosen.epochs) for n in seeds]
            rows += [rows_of(way, gamma, [found[way] for found in mine]) for way in mine[0]]
    if chosen.out:
        size = {
            "events": str(chosen.events),
            "test events": str(preset.test_events),
            "epochs": str(chosen.epochs),
            "seeds": ", ".join(map(str, seeds)),
        }
        write_tables(
            chosen.out,
            "Coins by hepinfo and by us",
            __doc__,
            {**stamp(), **size},
            {"Figures": rows},
        )


if __name__ == "__main__":
    main()
