"""Field and electronics response of collection wires: the published figures, and Garfield."""

import bz2
import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hairtrigger.detectors import lartpc_response as response
from hairtrigger.detectors.lartpc_config import LartpcConfig
from hairtrigger.errors import InputError

DATA = Path(os.environ.get("HAIRTRIGGER_DATA", Path(__file__).parents[2] / "shared" / "data"))
CONFIG = LartpcConfig()


def averaged(config: LartpcConfig, cells: int = 40) -> np.ndarray:
    """Counts per ke-, averaged over a pitch: (2 SIDE + 1 wires, fine ticks)."""
    distances = (np.arange(cells) + 0.5) / cells - 0.5
    wires = range(-response.SIDE, response.SIDE + 1)
    each = [[response.pulse(config, d, n) for n in wires] for d in distances]
    return 1000 * np.mean(each, axis=0)


def peak_and_width(pulse: np.ndarray) -> tuple[float, float]:
    """The peak, and the full width at half of it in ticks."""
    return pulse.max(), np.sum(pulse > pulse.max() / 2) / response.FINE


def test_electronics_peaks_with_its_setting():
    time = np.arange(0, 20, 0.01)
    for shaping in (1.1, 2.2):
        shape = response.electronics(time, shaping)
        assert shape.max() == pytest.approx(1, abs=1e-4)
        assert time[shape.argmax()] == pytest.approx(1.17 * shaping, rel=0.01)
    assert np.all(response.electronics(np.array([-1.0, -0.01]), 2.2) == 0)


def test_gain_is_the_fourier_transform_of_the_electronics():
    step = 0.01
    shape = response.electronics(np.arange(6000) * step, 2.2)
    frequency = np.fft.rfftfreq(len(shape), step)[:60]
    found = np.abs(np.fft.rfft(shape))[:60]
    assert found / found[0] == pytest.approx(response.gain(frequency, 2.2), abs=2e-3)


def test_published_figures_of_the_response():
    wires = averaged(CONFIG)
    for pulse, peak, width in (
        (1000 * response.pulse(CONFIG, 0.0), 22.8, 5.0),
        (wires[response.SIDE], 19.8, 6.0),
        (wires.sum(axis=0), 18.0, 7.0),
    ):
        found = peak_and_width(pulse)
        assert found[0] == pytest.approx(peak, rel=0.03)
        assert found[1] == pytest.approx(width, abs=0.65)
    area = wires[response.SIDE].sum() / response.FINE
    assert area == pytest.approx(143, rel=0.01)


def test_twelve_bits_are_a_quarter():
    quarter = response.kernels(LartpcConfig(adc_bits=12)) * 4
    assert quarter == pytest.approx(response.kernels(CONFIG), rel=1e-6)


@settings(max_examples=30)
@given(st.floats(-0.5, 0.5), st.integers(-2, 2))
def test_charge_is_induced_once(distance, neighbour):
    ends = np.arange(-600, 100) * 0.05
    induced = response.current(ends, distance, neighbour).sum()
    assert induced == pytest.approx(float(neighbour == 0), abs=2e-5)


def test_kernels_hold_nearly_all_of_the_pulse():
    kernels = response.kernels(CONFIG)
    assert kernels.shape == (
        response.IMPACTS,
        response.SUBTICKS,
        2 * response.SIDE + 1,
        response.KERNEL_TICKS,
    )
    area = 1000 * kernels.sum(axis=-1)
    assert area[:, :, response.SIDE] == pytest.approx(143, rel=0.01)
    assert np.abs(area[:, :, [0, -1]]).max() < 0.5
    assert np.abs(kernels[..., 0]).max() < 2e-3 * kernels.max()
    assert np.abs(kernels[..., -1]).max() < 2e-3 * kernels.max()
    assert kernels[::-1, :, ::-1] == pytest.approx(kernels, abs=1e-9)


def test_later_electrons_give_later_pulses():
    kernels = response.kernels(CONFIG)[:, :, response.SIDE]
    centre = (kernels * np.arange(response.KERNEL_TICKS)).sum(axis=-1) / kernels.sum(axis=-1)
    assert np.diff(centre, axis=1) == pytest.approx(1 / response.SUBTICKS, abs=0.02)


@pytest.mark.needs_data
def test_garfield_calculation():
    path = DATA / "wirecell" / "garfield-1d-3planes-21wires-6impacts-dune-v1.json.bz2"
    if not path.exists():
        pytest.skip(f"{path} is not here; set HAIRTRIGGER_DATA")
    planes = json.loads(bz2.decompress(path.read_bytes()))["FieldResponse"]["planes"]
    paths = [entry["PathResponse"] for entry in planes[2]["PlaneResponse"]["paths"]]
    step = 0.1
    charge = {round(p["pitchpos"] / 4.71, 1): p["current"]["array"]["elements"] for p in paths}
    own = {d: -np.array(c) for d, c in charge.items()}
    unit = np.mean([own[round(-d / 10, 1)].sum() for d in range(6)])
    shaped = response.electronics(np.arange(300) * step, 2.2) * response.full_scale(CONFIG) * 1000

    def theirs(distance: float) -> np.ndarray:
        return np.convolve(own[distance] / unit, shaped)[:1000]

    ends = (np.arange(1000) - 599.5) * step
    for distance in range(6):
        ours = np.convolve(response.current(ends, distance / 10), shaped)[:1000]
        garfield = theirs(round(-distance / 10, 1))
        assert ours.max() == pytest.approx(garfield.max(), rel=0.07)
        # both on the same time axis: within 12 % of the peak everywhere, but at the very edge
        worst = np.abs(ours - garfield).max() / garfield.max()
        assert worst < (0.12 if distance < 5 else 0.25), (distance, worst)
    near = np.convolve(response.current(ends, 0.0, 1), shaped)[:1000]
    assert np.abs(near - theirs(1.0)).max() < 0.06 * theirs(0.0).max()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"wires": 481}, "multiple of board_wires"),
        ({"wires": 480.5}, "integer"),
        ({"wires": 0}, "more than 0"),
        ({"adc_bits": 17}, "8 to 16"),
        ({"coherent_rms": 20.0}, "coherent_rms"),
        ({"recombination": 1.5}, "at most 1"),
        ({"lifetime_us": 0.0}, "more than 0"),
        ({"pedestal": float("nan")}, "finite"),
        ({"pitch_cm": -1.0}, "negative"),
        ({"pitch_cm": "wide"}, "number"),
        ({"plane_seed": True}, "number"),
        ({"supernova_range_mev": (70.0, 4.0)}, "lower end first"),
        ({"supernova_range_mev": (4.0,)}, "two numbers"),
    ],
)
def test_configurations_that_cannot_be(changes, message):
    with pytest.raises(InputError, match=message):
        LartpcConfig(**changes)


def test_configuration_from_numpy_numbers_is_the_same():
    config = LartpcConfig(wires=np.int64(480), supernova_range_mev=[4, np.float64(70)])
    assert config == CONFIG
    assert hash(config) == hash(CONFIG)
    assert CONFIG.per_image(CONFIG.ar39_bq_cm3) == pytest.approx(2.24 * 64 * 0.512 / 32, rel=0.01)
    assert CONFIG.drift_ticks == pytest.approx(4394, abs=1)
