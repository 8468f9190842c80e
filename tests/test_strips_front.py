"""What stands in front of the strips study's networks: NumPy, Keras and the Graph say the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hairtrigger.errors import InputError
from hairtrigger.studies import strips_front as front
from hairtrigger.studies.strips_samples import FEATURES, WIDTH

CHARGES, TIMES = 1024, 200


def clusters(count: int, seed: int) -> np.ndarray:
    """Detector inputs (count, FEATURES) of any charges, times and angles, a third without a hit;
    the first have every charge and every time there is, also charges below any threshold."""
    rng = np.random.default_rng(seed)
    charge = rng.integers(0, CHARGES, (count, WIDTH))
    time = rng.integers(1, TIMES + 1, (count, WIDTH))
    rows = np.arange(CHARGES)
    charge.ravel()[: len(rows)] = rows
    time.ravel()[:TIMES] = np.arange(1, TIMES + 1)
    hit = rng.random(charge.shape) < 0.67
    hit.ravel()[: len(rows)] = True
    return front.detector_input(charge * hit, time * hit, np.tan(rng.uniform(-0.1, 0.9, count)))


def test_the_detectors_grid() -> None:
    found = clusters(200, 1)
    assert found.shape == (200, FEATURES)
    assert found.dtype == np.float32
    assert found.min() >= 0
    assert found[:, :WIDTH].max() == (CHARGES - 1) / front.CHARGE_UNIT
    for part, steps in ((found[:, :WIDTH], 64), (found[:, WIDTH:], 256)):
        assert np.array_equal(part * steps, np.rint(part * steps))


@settings(max_examples=50, deadline=None)
@given(st.floats(-10, 10))
def test_the_angle_is_told_to_half_a_step(tangent: float) -> None:
    code = float(front.tangent_code(np.float64(tangent)))
    assert 0 <= code < 1
    if -0.2 <= tangent <= 1.39:
        again = (256 * code - front.TANGENT_ZERO) * front.TANGENT_STEP
        assert abs(again - tangent) <= front.TANGENT_STEP / 2 + 1e-9


def test_what_networks_see() -> None:
    given_ = clusters(300, 2)
    hit = given_[:, :WIDTH] >= front.LEAST
    given_[:, WIDTH : 2 * WIDTH][~hit] = 0  # as the detector has it
    seen = front.network_input(given_)
    charge, time = seen[:, :WIDTH], seen[:, WIDTH : 2 * WIDTH]
    assert seen.shape == (300, front.SEEN)
    assert (charge[given_[:, :WIDTH] == 0] == 0).all()
    assert (time[~hit] == 0).all()
    assert np.array_equal(time[hit] * 256, given_[:, WIDTH : 2 * WIDTH][hit] * 256 - 64)
    # 64 counts are a half; more charge is never less, and never a whole
    ramp = np.zeros((CHARGES, FEATURES), np.float32)
    ramp[:, 0] = np.arange(CHARGES) / front.CHARGE_UNIT
    told = front.network_input(ramp)[:, 0]
    assert told[64] == 0.5
    assert (np.diff(told) >= 0).all()
    assert told[-1] < 1


# Keras on NumPy 2.4, where it saves a model.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("bits", [None, 6])
def test_keras_and_graph_have_the_same_front(bits: int | None, tmp_path: Path) -> None:
    from hairtrigger.frontends.hgq import from_hgq, keras_values
    from hairtrigger.frontends.keras_file import import_keras, load_model
    from hairtrigger.graph import emulate_codes, encode
    from hairtrigger.graph.passes import optimise
    from hairtrigger.studies import strips_networks as networks

    keras = import_keras()
    keras.utils.set_random_seed(3)
    shape = (front.SEEN, 3, (8, 6, 5))
    floating = networks.build_float(*shape)
    given_ = clusters(500, 3)
    seen = front.network_input(given_)
    network = networks.build_student(*shape) if bits is None else networks.build_fixed(*shape)
    networks.start_from_float(floating, network, seen, bits)
    front.with_front(network).save(tmp_path / "model.keras")
    whole = load_model(tmp_path / "model.keras")
    front.require_front(whole)
    with pytest.raises(InputError, match="no front"):
        front.require_front(network)
    probe = keras.Model(whole.inputs, whole.get_layer("seen").output)
    assert np.array_equal(probe.predict(given_, verbose=0), seen)
    graph = optimise(from_hgq(whole))
    assert sum(op.type.bits for op in graph.input_ops) == 10 * WIDTH + 8 * (WIDTH + 1)
    front.require_front(graph)
    codes = encode(graph, given_)
    (found,) = emulate_codes(graph, codes)
    assert np.array_equal(found, keras_values(whole, graph, codes)[0])
    behind = optimise(from_hgq(front.without_front(whole)))
    with pytest.raises(InputError, match="Run the study again"):
        front.require_front(behind)
    (alone,) = emulate_codes(behind, encode(behind, seen))
    lsb, other = graph.output_types[0].lsb, behind.output_types[0].lsb
    assert np.array_equal(found * 2.0**-lsb, alone * 2.0**-other)
