"""The supernova study's own parts: samples, targets, networks, gate and cut as files."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hairtrigger.detectors import lartpc
from hairtrigger.errors import InputError, StorageError
from hairtrigger.explain import questions_supernova
from hairtrigger.fixed import Fixed, Overflow, Rounding
from hairtrigger.frontends.keras_file import import_keras, load_model
from hairtrigger.graph import Builder, Literal, TensorType, emulate_codes, linear, moves, ops
from hairtrigger.studies import supernova, supernova_networks
from hairtrigger.studies.supernova_front import FrontConfig
from hairtrigger.studies.supernova_samples import (
    joined,
    make,
    network_input,
    pack,
    read,
    unpack,
)
from hairtrigger.studies.supernova_trigger import (
    TRIGGER,
    Trigger,
    deciding_model,
    read_trigger,
)

SMALL = FrontConfig(wires=48, board=48)


# Keras saves variables through an interface that NumPy is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@given(arrays.arrays(np.uint8, (3, 4, 6), elements=st.integers(0, 15)))
def test_pixels_are_packed_and_unpacked(pixels):
    assert np.array_equal(unpack(pack(pixels)), pixels)


def test_what_is_no_pair_of_pixels_is_refused():
    with pytest.raises(InputError, match="up to 16"):
        pack(np.full((1, 2), 16, dtype=np.uint8))
    with pytest.raises(InputError, match="pairs"):
        pack(np.zeros((1, 3), dtype=np.uint8))


def _truth(kinds, visible):
    truth = np.zeros(len(kinds), lartpc.TRUTH_DTYPE)
    truth["kind"], truth["visible_mev"] = kinds, visible
    truth["direction"] = (0.6, 0.0, 0.8)
    return truth


def test_targets_say_what_is_to_be_learned():
    found = supernova.targets(_truth([0, 1, 1, 2, 4], [0, 1, 3, 8, 8]))
    nothing = np.nan
    wanted = [
        [0, nothing, nothing, nothing],  # noise has no type
        [nothing, nothing, nothing, nothing],  # too little to be either
        [1, 0, nothing, nothing],  # too little to point
        [1, 1, 0.6, 0.8],
        [1, 3, nothing, nothing],  # muons do not point
    ]
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_samples_are_made_once_and_go_on_where_they_stopped(tmp_path, monkeypatch):
    config = lartpc.LartpcConfig()
    seen = []

    def judge(images, pedestals):
        seen.append(len(images))
        if len(seen) == 2:
            raise KeyboardInterrupt
        return {"sum": images.sum(axis=(1, 2))}

    how = (config, FrontConfig(), judge, ("sum",))
    monkeypatch.setattr("hairtrigger.studies.supernova_samples.CHUNK", 8)
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "noise", "noise", 20, 7, *how)
    make(tmp_path / "noise", "noise", 20, 7, *how)
    assert seen == [8, 8, 8, 4]  # the first chunk was kept
    found = read(tmp_path / "noise")
    raw = lartpc.simulate(20, seed=7, config=config).images
    assert np.array_equal(found.scores["sum"], raw.sum(axis=(1, 2)))
    assert found.packed.shape == (20, 16, 60)
    both = joined([found, found.select(slice(0, 2))])
    assert len(both) == 22
    with pytest.raises(StorageError, match="seed is 7"):
        make(tmp_path / "noise", "noise", 20, 8, *how)


def test_both_networks_have_the_same_layers_and_start_alike():
    import_keras().utils.set_random_seed(5)
    made = supernova_networks.build_float((16, 12), supernova.OUTPUTS)
    chip = supernova_networks.build_student((16, 12), supernova.OUTPUTS)
    supernova_networks.start_from_float(made, chip)
    x = np.random.default_rng(1).integers(0, 16, (32, 16, 12, 1)).astype(np.float32)
    wide = np.abs(made.predict(x, verbose=0)).max()
    assert np.abs(made.predict(x, verbose=0) - chip.predict(x, verbose=0)).max() < 0.5 * wide


def test_an_image_that_pools_do_not_divide_is_refused():
    with pytest.raises(InputError, match="not divided"):
        supernova_networks.build_float((16, 10), 7)


def _network(columns):
    rng = np.random.default_rng(2)
    builder = Builder("small")
    t = TensorType.uniform((16, columns, 1), Fixed(False, 4, 0))
    x = builder.add(ops.Input("pixels", t))
    flat = builder.add(moves.Reshape((16 * columns,)), x)
    kernel = Literal(rng.integers(-3, 4, (16 * columns, 7)), 3)
    x = builder.add(linear.Dense(kernel), flat)
    # The logit that decides is coarser than the others, as learned widths may be.
    fraction = np.array([1, 2, 3, 3, 3, 3, 0])
    t = TensorType((7,), np.ones(7, bool), np.full(7, 14), fraction)
    x = builder.add(ops.Quantize(t, Rounding.RND, Overflow.SAT), x)
    return builder.build([x])


@settings(deadline=None, max_examples=25)
@given(st.integers(-200, 200), st.integers(0, 2000), st.integers(0, 99))
def test_the_trigger_keeps_what_is_over_gate_and_cut(cut, gate, seed):
    network = _network(SMALL.columns)
    trigger = Trigger(SMALL, network, cut, gate)
    pixels = np.random.default_rng(seed).integers(0, 16, (20, 16, SMALL.columns, 1))
    pixels[::2] //= 4  # some with little in them
    logits, keep = emulate_codes(trigger.decision(), (pixels,))
    assert np.array_equal(logits, emulate_codes(network, (pixels,))[0])
    wanted = (logits[:, 0] >= cut) & (pixels.sum(axis=(1, 2, 3)) >= gate)
    assert np.array_equal(keep[:, 0] != 0, wanted)


def test_the_model_in_keras_decides_by_cut_and_gate(tmp_path):
    keras = import_keras()
    keras.utils.set_random_seed(6)
    model = supernova_networks.build_float((16, 12), supernova.OUTPUTS)
    x = np.random.default_rng(3).integers(0, 4, (200, 16, 12, 1)).astype(np.float32)
    logits = model.predict(x, verbose=0)
    cut, gate = float(np.median(logits[:, 0])), 288
    deciding_model(model, cut, gate).save(tmp_path / "model.keras")
    said, keep = load_model(tmp_path / "model.keras").predict(x, verbose=0)
    assert np.array_equal(said, logits)
    wanted = (logits[:, 0] >= cut) & (x.sum(axis=(1, 2, 3)) >= gate)
    assert keep.shape == (200, 1)
    assert np.array_equal(keep[:, 0] != 0, wanted)
    assert 20 < wanted.sum() < 90  # both matter


def test_a_trigger_is_written_and_read(tmp_path):
    trigger = Trigger(SMALL, _network(SMALL.columns), -17, 40)
    trigger.save(tmp_path)
    assert read_trigger(tmp_path) == trigger
    assert (trigger.rows, trigger.ticks) == (16, 64)


def test_explanations_are_of_what_the_trigger_keeps(tmp_path):
    (tmp_path / "trigger").mkdir()
    network = _network(SMALL.columns)
    pixels = np.random.default_rng(5).integers(0, 16, (60, 16, SMALL.columns), dtype=np.uint8)
    pixels[::2] //= 4
    logits = emulate_codes(network, (pixels[..., None].astype(np.int64),))[0][:, 0]
    cut, total = int(np.median(logits)), pixels.sum(axis=(1, 2), dtype=np.int64)
    gate = int(np.median(total))
    Trigger(SMALL, network, cut, gate).save(tmp_path / "trigger")
    found = questions_supernova.kept(tmp_path, pack(pixels))
    assert np.array_equal(found, (logits >= cut) & (total >= gate))
    assert 5 < found.sum() < 30  # both matter
    with pytest.raises(StorageError, match="No run of supernova"):
        questions_supernova.kept(None, pack(pixels))


def test_files_that_are_no_trigger_are_refused(tmp_path):
    with pytest.raises(StorageError, match="no supernova trigger"):
        read_trigger(tmp_path)
    Trigger(SMALL, _network(SMALL.columns), 1, 2).save(tmp_path)
    whole = json.loads((tmp_path / TRIGGER).read_text())
    for change, said in (
        ({"format": "other"}, "another format"),
        ({"cut": 1.5}, "cut is no number"),
        ({"front": {**whole["front"], "wires": "many"}}, "front.wires"),
        ({"front": {**whole["front"], "wires": 96}}, "rows of 24 pixels"),
    ):
        (tmp_path / TRIGGER).write_text(json.dumps({**whole, **change}))
        with pytest.raises(StorageError, match=said):
            read_trigger(tmp_path)
    (tmp_path / TRIGGER).write_text(json.dumps(whole)[:-20])
    with pytest.raises(StorageError, match="no supernova trigger"):
        read_trigger(tmp_path)


def test_a_network_of_other_pixels_is_refused():
    with pytest.raises(InputError, match="rows of 12 pixels"):
        Trigger(SMALL, _network(13), 0, 0)


def test_presets_are_named():
    assert supernova.preset_named("demo").name == "demo"
    with pytest.raises(InputError, match="smoke, demo, paper"):
        supernova.preset_named("quick")


def test_samples_of_a_preset_are_of_all_kinds():
    wanted = supernova.sizes(supernova.SMOKE)
    assert wanted["train_es"] == ("es", 1024)
    assert wanted["test_noise"] == ("noise", 2048)
    assert wanted["pool_enriched"] == ("noise", 4096)
    assert wanted["cut_enriched"] == ("noise", 4096)
    assert len(wanted) == 19
    paper = dataclasses.asdict(supernova.PAPER)
    assert paper["test_noise"] >= 3_000_000  # a rate of 1e-6 needs as many


def test_the_networks_input_has_a_channel():
    assert network_input(np.zeros((2, 16, 60), np.uint8)).shape == (2, 16, 120, 1)
