"""LHCb candidates: files that these tests write, and a generator against closed forms."""

import math
from pathlib import Path

import numpy as np
import pytest

from hairtrigger.detectors import lhcb, lhcb_toy
from hairtrigger.detectors.lhcb import FEATURES, Candidates, iterate_csv, read_csv, read_root
from hairtrigger.detectors.lhcb_toy import SHIFT, SIGNAL, SPD, LhcbConfig, to_z, truth
from hairtrigger.errors import InputError, StorageError
from hairtrigger.metrics_blind import auc, mass_cvm, weighted_ks


def write_csv(path: Path, made: Candidates, drop: str = "", order: int = 1) -> Path:
    columns = {"id": np.arange(len(made))}
    columns |= {name: made.column(name) for name in FEATURES} | dict(made.extra)
    names = [name for name in columns if name != drop][::order]
    table = np.stack([columns[name] for name in names], axis=1)
    np.savetxt(path, table, "%.9g", ",", header=",".join(names), comments="")
    return path


def test_there_are_46_features() -> None:
    assert len(set(FEATURES)) == len(FEATURES) == 46
    assert {"p0_IsoBDT", "p2_eta", "isolationf", "CDF3", "SPDhits", "DOCAthree"} <= set(FEATURES)


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("make", [lhcb_toy.training, lhcb_toy.agreement, lhcb_toy.correlation])
def test_a_file_gives_back_what_was_written(tmp_path, make, order: int) -> None:
    made = make(70, 1)
    path = write_csv(tmp_path / "some.csv", made, order=order)
    whole = read_csv(path)
    np.testing.assert_allclose(whole.features, made.features, rtol=1e-6)
    assert whole.features.dtype == np.float32
    assert set(whole.extra) == {"id", *made.extra}
    for name in made.extra:
        np.testing.assert_allclose(whole.extra[name], made.extra[name], rtol=1e-8)
    parts = list(iterate_csv(path, chunk=32))
    assert [len(part) for part in parts] == [32, 32, 6]
    np.testing.assert_array_equal(lhcb.join(parts).features, whole.features)


def test_what_is_wrong_with_a_file_is_named(tmp_path) -> None:
    made = lhcb_toy.training(20, 1)
    with pytest.raises(InputError, match=r"some\.csv has no column p1_IPSig"):
        read_csv(write_csv(tmp_path / "some.csv", made, drop="p1_IPSig"))
    path = write_csv(tmp_path / "some.csv", made, drop="weight")
    with pytest.raises(InputError, match="no column weight, production"):
        read_csv(path, need=("weight", "production"))
    path = write_csv(tmp_path / "some.csv", made)
    lines = path.read_text().splitlines()
    for line, problem in (
        (lines[3].replace(",", ",x", 1), "lines 4 to 5"),
        (lines[3].rsplit(",", 3)[0], "lines 4 to 5"),
        ("", "1 of them are empty"),
        (",".join(["nan"] * len(lines[3].split(","))), "NaN or infinity in LifeTime"),
    ):
        path.write_text("\n".join([*lines[:3], line, lines[4]]))
        with pytest.raises(InputError, match=problem):
            list(iterate_csv(path, chunk=2))
    path.write_text(lines[0] + "\n")
    with pytest.raises(StorageError, match="no rows"):
        read_csv(path)
    path.write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(StorageError, match="cannot be read"):
        read_csv(path)
    with pytest.raises(StorageError, match="cannot be read"):
        read_csv(tmp_path / "none.csv")
    with pytest.raises(InputError, match="no column 'mass'"):
        lhcb_toy.agreement(5, 1).column("mass")


def test_ntuples_of_data_with_weights(tmp_path) -> None:
    uproot = pytest.importorskip("uproot", reason="needs the extra hairtrigger[root]")
    made = lhcb_toy.agreement(50, 3)
    branches = {name: made.column(name) for name in FEATURES}
    branches |= {"nsig_sw": made.extra["weight"], "other": np.zeros(50)}
    path = tmp_path / "data.root"
    with uproot.recreate(path) as file:
        file.mktree("DecayTree", {name: x.dtype for name, x in branches.items()})
        file["DecayTree"].extend(branches)
    options = {"rename": {"weight": "nsig_sw"}, "constant": {"signal": 0.0}}
    parts = list(read_root(path, "DecayTree", need=("weight",), chunk=20, **options))
    found = lhcb.join(parts)
    assert len(parts) > 1
    np.testing.assert_array_equal(found.features, made.features)
    np.testing.assert_array_equal(found.extra["weight"], made.extra["weight"])
    assert set(found.extra) == {"weight", "signal"}
    assert not found.extra["signal"].any()
    with pytest.raises(InputError, match=r"data.root has no column weight"):
        list(read_root(path, "DecayTree", need=("weight",)))
    with pytest.raises(StorageError, match="Tree 'None'"):
        list(read_root(path, "None"))
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(StorageError, match="cannot be read"):
        list(read_root(path, "DecayTree"))
    with pytest.raises(StorageError, match="is no file"):
        list(read_root(tmp_path / "none.root", "DecayTree"))


# --- the generator -------------------------------------------------------------------------------


def test_features_look_like_lhcb_and_give_back_the_truth() -> None:
    made = lhcb_toy.training(20_000, 5)
    z = to_z(made.features)
    again = lhcb_toy.training(20_000, 5)
    np.testing.assert_array_equal(made.features, again.features)
    assert (made.features != lhcb_toy.training(20_000, 6).features).any()
    dira = made.column("dira")
    assert ((dira > 0.9) & (dira <= 1)).all()
    assert 2000 < np.median(made.column("pt")) < 6000
    spd = made.column("SPDhits")
    assert (spd == np.rint(spd)).all()
    signal = made.extra["signal"] == 1
    apart = z[signal].mean(axis=0) - z[~signal].mean(axis=0)
    np.testing.assert_allclose(apart, SIGNAL - SHIFT, atol=0.08)
    assert abs(made.extra["mass"][signal].std() - lhcb_toy.MASS_RESOLUTION_MEV) < 0.3


def test_the_best_score_reaches_what_the_closed_forms_say() -> None:
    config = LhcbConfig(pile_up=0.0)
    known = truth(config)
    made, control = lhcb_toy.training(60_000, 7, config), lhcb_toy.agreement(60_000, 8, config)
    signal = made.extra["signal"] == 1
    confused = to_z(made.features) @ (SIGNAL - SHIFT)
    assert auc(signal, confused) == pytest.approx(known.confused_auc, abs=0.004)
    simulated = control.extra["signal"] == 1
    z = to_z(control.features)
    blind = SIGNAL - SHIFT * (SIGNAL @ SHIFT) / (SHIFT @ SHIFT)
    weight = control.extra["weight"]
    for direction, expected in ((SIGNAL, known.ks), (blind, 0.0)):
        score = z @ direction
        found = weighted_ks(score[simulated], score[~simulated], None, weight[~simulated])
        assert found == pytest.approx(expected, abs=0.015)
    # The blind score does not see the domain, so training data give its AUC.
    assert auc(signal, to_z(made.features) @ blind) == pytest.approx(known.blind_auc, abs=0.004)
    assert known.confused_auc > known.auc > known.blind_auc > 0.8
    assert 0.05 < known.ks < 0.5
    still = truth(LhcbConfig(shift=0.0))
    assert (still.ks, still.blind_auc, still.confused_auc) == (0, still.auc, still.auc)


def test_pile_up_moves_features_through_spd_hits() -> None:
    for strength in (0.0, 1.0):
        made = lhcb_toy.correlation(40_000, 9, LhcbConfig(pile_up=strength))
        z = to_z(made.features)
        u = np.log(made.column("SPDhits") / lhcb_toy.SPD_MEDIAN) / lhcb_toy.SPD_SPREAD
        slope = np.array([np.polyfit(u, column, 1)[0] for column in z.T])
        expected = strength * lhcb_toy.PILE_UP
        expected[SPD] = 1
        np.testing.assert_allclose(slope, expected, atol=0.03)


def test_the_trap_gives_the_mass_away() -> None:
    for trap, knows in ((0.0, False), (1.0, True)):
        made = lhcb_toy.correlation(5514, 10, LhcbConfig(trap=trap))
        score = to_z(made.features) @ lhcb_toy.TRAP
        assert (mass_cvm(score, made.extra["mass"], 0) > 0.002) == knows


def test_what_makes_no_sense_is_refused() -> None:
    for make in (
        lambda: lhcb_toy.training(0, 1),
        lambda: LhcbConfig(shift=math.nan),
        lambda: lhcb.join([]),
    ):
        with pytest.raises(InputError):
            make()
