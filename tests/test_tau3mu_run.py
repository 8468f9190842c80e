"""`hairtrigger run tau3mu`: candidates from a generator or CSV files, and all up to the page."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hairtrigger.detectors import lhcb_toy
from hairtrigger.detectors.lhcb import FEATURES, Candidates
from hairtrigger.errors import InputError, StorageError
from hairtrigger.runs import run_study, tradeoff
from hairtrigger.runs.beside import sections
from hairtrigger.studies import tau3mu
from hairtrigger.studies.tau3mu_samples import read_samples, recorded, write_candidates

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def write_csv(path: Path, candidates: Candidates) -> None:
    names = [*FEATURES, *candidates.extra]
    columns = [*candidates.features.T, *candidates.extra.values()]
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(names)
        rows.writerows(zip(*columns, strict=True))


@pytest.fixture(scope="module")
def challenge(tmp_path_factory) -> Path:
    """Files of the challenge's form, with generated candidates."""
    folder = tmp_path_factory.mktemp("challenge")
    write_csv(folder / "training.csv", lhcb_toy.training(9000, 1))
    write_csv(folder / "check_agreement.csv", lhcb_toy.agreement(9000, 2))
    write_csv(folder / "check_correlation.csv", lhcb_toy.correlation(1000, 3))
    return folder


def test_recorded_candidates_are_divided_and_none_is_used_twice(challenge: Path) -> None:
    preset = replace(tau3mu.SMOKE, train_events=4000, test_events=3000)
    found = recorded(challenge, preset, 1)
    assert {name: len(part) for name, part in found.items()} == {
        "correlation": 1000,
        "train": 4400,
        "test": 3000,
        "control": 4400,
        "agreement": 3000,
    }
    both = np.concatenate([found["train"].features, found["test"].features])
    assert len(np.unique(both, axis=0)) == 7400
    again = recorded(challenge, preset, 1)
    assert np.array_equal(again["train"].features, found["train"].features)
    assert tau3mu.arrange(found).same_origin is None


def test_too_few_recorded_candidates(tmp_path: Path, challenge: Path) -> None:
    for name in ("training.csv", "check_correlation.csv"):
        (tmp_path / name).symlink_to(challenge / name)
    write_csv(tmp_path / "check_agreement.csv", lhcb_toy.agreement(50, 2))
    with pytest.raises(InputError, match=r"check_agreement.csv has 50 candidates"):
        recorded(tmp_path, tau3mu.SMOKE, 1)


def test_kept_samples_are_the_same(tmp_path: Path) -> None:
    made = tau3mu.generated(tau3mu.SMOKE, 5)
    write_candidates(tmp_path / "samples.npz", made)
    kept, expected = read_samples(tmp_path / "samples.npz"), tau3mu.arrange(made)
    np.testing.assert_array_equal(kept.train.inputs, expected.train.inputs)
    np.testing.assert_array_equal(kept.train.targets, expected.train.targets)
    assert kept.pile_up_edges == expected.pile_up_edges
    np.testing.assert_array_equal(
        kept.agreement.extra["weight"], expected.agreement.extra["weight"]
    )
    (tmp_path / "samples.npz").write_bytes(b"PK no samples")
    with pytest.raises(StorageError, match="run again"):
        read_samples(tmp_path / "samples.npz")


def test_a_run_from_candidates_to_the_page(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(tradeoff, "METHODS", ("plain", "coins"))
    made = run_study("tau3mu", preset="smoke", clock="200MHz", folder=tmp_path / "run")
    summary = made.summary
    assert summary.proof.passed
    assert summary.chip.interval_clocks == 1
    assert summary.evaluation is not None
    rows = {row.key: row for row in summary.evaluation.rows}
    plain, network, chip = rows["auc"].values
    assert 0.6 < plain.value < 1
    for row in ("auc", "ks", "information"):
        _, software, hardware = rows[row].values
        # The same network but for rounding, on the same candidates.
        assert abs(software.value - hardware.value) < hardware.high - hardware.low, row
    assert rows["information"].values[0].value is None  # a plain network has no bits
    assert chip.n == network.n == tau3mu.SMOKE.test_events
    record = json.loads((tmp_path / "run" / "tradeoff.json").read_text())
    assert [(p["method"], p["strength"]) for p in record["points"]] == [
        ("plain", 0.0),
        ("coins", 0.3),
        ("coins, 16 draws", 0.3),
        ("coins, likelier side", 0.3),
    ]
    assert [known["epoch"] for known in record["points"][1]["plane"]] == [1]
    assert [len(t["trials"]) for t in record["tuned"]] == [1, 1]
    (section,) = sections([tmp_path / "run"])
    assert section.text.count("\n| coins | 0.3 |") == 1
    assert "not measured" in section.text  # the rival that coins must beat was left out
    assert section.picture is not None
    assert "<svg" in section.picture
    assert made.page.read_text().count("information of the bits") >= 1


def test_recorded_data_are_for_tau3mu_alone(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="reads no recorded data"):
        run_study("muon", preset="smoke", data=tmp_path, folder=tmp_path / "run")
    with pytest.raises(StorageError, match=r"training.csv"):
        run_study("tau3mu", preset="smoke", data=tmp_path, folder=tmp_path / "run")
