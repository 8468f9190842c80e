"""Energy loss, spectra, sources and events: against known numbers and conservation laws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hairtrigger.detectors import lartpc_argon as argon
from hairtrigger.detectors import lartpc_deposits as deposits
from hairtrigger.detectors import lartpc_events as events
from hairtrigger.detectors import lartpc_response as response
from hairtrigger.detectors import lartpc_sources as sources
from hairtrigger.detectors import lartpc_spectra as spectra
from hairtrigger.detectors.lartpc_config import LartpcConfig
from hairtrigger.detectors.lartpc_transport import gather, isotropic, particles, transport, turn
from hairtrigger.errors import InputError

CONFIG = LartpcConfig()


def beam(n: int, mev: float, positron: bool = False):
    """``n`` electrons along z, or positrons."""
    along = np.tile([0.0, 0.0, 1.0], (n, 1))
    kind = np.full(n, positron)
    return particles(np.arange(n), np.zeros((n, 3)), along, np.full(n, mev), kind)


# Energy loss


def test_energy_loss_of_electrons_and_muons():
    """Tabulated collision losses (ESTAR, argon with the density of the liquid), MeV cm2/g."""
    kinetic = np.array([0.1, 1.0, 10.0, 50.0])
    found = argon.electron_loss(kinetic) / argon.DENSITY
    assert found == pytest.approx([2.92, 1.37, 1.55, 1.72], rel=0.02)
    assert argon.muon_loss(np.array([266.0])) / argon.DENSITY == pytest.approx(1.508, rel=0.01)
    assert np.interp(100.0, *argon.muon_range()) * argon.DENSITY == pytest.approx(42.5, rel=0.02)


def test_attenuation_of_photons():
    """Tabulated mass attenuation of argon, cm2/g: to 10 %."""
    energy = np.array([0.1, 1.0, 5.0, 10.0, 20.0])
    rates = argon.compton_rate(energy) + argon.pair_rate(energy) + argon.photo_rate(energy)
    known = [0.204, 0.0576, 0.0270, 0.0231, 0.0217]
    assert rates / argon.DENSITY == pytest.approx(known, rel=0.13)


@settings(max_examples=12)
@given(st.sampled_from([0.05, 0.3, 2.0, 12.0, 45.0]), st.booleans(), st.integers(0, 9))
def test_energy_is_conserved_in_showers(mev, positron, seed):
    made = transport(np.random.default_rng(seed), beam(20, mev, positron), gather([]), CONFIG)
    total = np.bincount(made.event, made.mev, 20)
    assert total == pytest.approx(mev + 2 * argon.ELECTRON_MEV * positron, rel=1e-9)
    assert made.mev.min() >= 0
    assert made.electrons == pytest.approx(made.mev * 1e6 / 23.6 * 0.7)


def test_photons_leave_all_their_energy_after_some_centimetres():
    n = 2000
    photons = beam(n, 2.0)
    made = transport(np.random.default_rng(3), gather([]), photons, CONFIG)
    # pairs are paid for with the masses that annihilation gives back
    assert np.bincount(made.event, made.mev, n) == pytest.approx(2.0, rel=1e-9)
    first = np.full(n, np.inf)
    np.minimum.at(first, made.event, np.linalg.norm(made.position, axis=1))
    rate = argon.compton_rate(2.0) + argon.pair_rate(2.0) + argon.photo_rate(2.0)
    assert first.mean() == pytest.approx(1 / rate, rel=4.5 / np.sqrt(n))


def test_length_of_electron_tracks():
    """10 MeV: practical range about 5 g/cm2, so most of the energy within 5 cm ahead."""
    made = transport(np.random.default_rng(4), beam(400, 10.0), gather([]), CONFIG)
    ahead = made.position[:, 2]
    near = np.linalg.norm(made.position, axis=1) < 6
    assert made.mev[near].sum() / 400 == pytest.approx(9.0, abs=0.5)
    assert 1.5 < np.average(ahead[near], weights=made.mev[near]) < 3.0


@settings(max_examples=20)
@given(st.floats(-1, 1), st.integers(0, 1000))
def test_turn_keeps_length_and_angle(cosine, seed):
    rng = np.random.default_rng(seed)
    direction = isotropic(rng, 7)
    turned = turn(direction, np.full(7, cosine), rng.uniform(0, 7, 7))
    assert np.linalg.norm(turned, axis=1) == pytest.approx(1)
    assert (turned * direction).sum(axis=1) == pytest.approx(cosine, abs=1e-9)


# Spectra


def test_end_points_and_means_of_beta_spectra():
    rng = np.random.default_rng(1)
    for end, daughter, mean in ((0.565, 19, 0.219), (0.687, 37, 0.251), (3.525, 20, 1.566)):
        drawn = spectra.draw(rng, spectra.beta(end, daughter, True), 0.0, end, 40_000)
        # the point charge without relativity costs 4 % at Kr85
        close = 0.05 if daughter == 37 else 0.02
        assert drawn.min() > 0
        assert 0.93 * end < drawn.max() <= end
        assert drawn.mean() == pytest.approx(mean, rel=close)


def test_michel_and_solar_spectra():
    rng = np.random.default_rng(2)
    drawn = spectra.draw(rng, spectra.michel, 0.511, 52.83, 40_000)
    assert drawn.max() <= 52.83
    assert drawn.mean() == pytest.approx(0.7 * 52.83, rel=0.01)
    energy = np.linspace(0.01, 20, 4000)
    boron = spectra.boron8(energy)
    assert np.average(energy, weights=boron) == pytest.approx(6.7, abs=0.1)
    assert energy[boron > 1e-6 * boron.max()].max() < 17
    assert energy[spectra.hep(energy) > 0].max() == pytest.approx(18.77, abs=0.01)


def test_supernova_spectrum_has_its_mean():
    energy = np.linspace(0.01, 150, 20_000)
    flux = spectra.supernova_flux(energy, CONFIG)
    assert np.average(energy, weights=flux) == pytest.approx(CONFIG.supernova_mean_mev, rel=1e-3)


def test_charged_current_opens_at_its_threshold():
    lowest = spectra.CC_THRESHOLD_MEV + spectra.LEVELS[0]
    assert spectra.cc_rate(np.array([lowest - 1e-6]))[0] == 0
    assert spectra.cc_rate(np.array([lowest + 0.1]))[0] > 0
    rates = spectra.cc_rate(np.linspace(4, 70, 100))
    assert np.all(np.diff(rates) > 0)


# Sources


def test_rates_of_radiologicals():
    """Poisson, with 4.5 standard deviations, over 40 blocks of 4096 ticks."""
    rng = np.random.default_rng(5)
    found, mev, own = np.zeros(4), [], []
    for _ in range(40):
        decays = sources.draw_decays(rng, 4096, CONFIG)
        found += np.bincount(decays.source, minlength=4)
        mev.append(np.bincount(decays.deposits.event, decays.deposits.mev, len(decays)))
        own.append(decays.source)
    images = 40 * 64 * (64 * 512e-9) / 32e-6
    for source, (published, members) in enumerate(((2.24, 1), (0.25, 1), (2.2e-3, 5), (2e-4, 2))):
        expected = published * members * images
        assert abs(found[source] - expected) < 4.5 * np.sqrt(expected) + 0.02 * expected
    energy, source = np.concatenate(mev), np.concatenate(own)
    assert energy[source == 0].max() < sources.AR39_END_MEV
    assert energy[source == 0].mean() == pytest.approx(0.219, rel=0.05)
    assert energy[source == 1].max() < sources.KR85_END_MEV


def test_alphas_are_quenched():
    config = LartpcConfig(ar39_bq_cm3=0.0, kr85_bq_cm3=0.0, ar42_bq_cm3=0.0, rn222_bq_cm3=1e-3)
    decays = sources.draw_decays(np.random.default_rng(6), 4096, config)
    point = np.isin(decays.deposits.mev, sources.RADON_ALPHAS_MEV)
    assert point.any()
    ratio = decays.deposits.electrons[point] / decays.deposits.mev[point]
    assert ratio == pytest.approx(1e6 / 23.6 * config.alpha_recombination)
    assert set(np.unique(decays.source)) == {2}


def test_no_radiologicals():
    names = ("ar39", "kr85", "rn222", "ar42")
    config = LartpcConfig(**{f"{name}_bq_cm3": 0.0 for name in names})
    assert len(sources.draw_decays(np.random.default_rng(1), 4096, config)) == 0


# Events


def deposited(found: events.Events) -> np.ndarray:
    return np.bincount(found.deposits.event, found.deposits.mev, len(found.neutrino_mev))


def test_charged_current_events():
    found = events.draw("nue_cc", np.random.default_rng(1), 1500, CONFIG)
    low, high = CONFIG.supernova_range_mev
    assert found.neutrino_mev.min() >= low
    assert found.neutrino_mev.max() <= high
    missing = found.neutrino_mev - deposited(found)
    # all but the Q value, unless a neutron carries away what it cost to free it
    kept = missing < 1.6
    assert missing[kept] == pytest.approx(spectra.CC_THRESHOLD_MEV, abs=0.04)
    assert 0.6 < kept.mean() < 0.98
    assert missing.min() > 1.4
    assert np.linalg.norm(found.direction, axis=1) == pytest.approx(1)
    excitation = found.neutrino_mev - found.electron_mev - spectra.CC_THRESHOLD_MEV
    analogue = np.isclose(excitation, spectra.ANALOGUE)
    cosine = (found.direction * found.neutrino_direction).sum(axis=1)
    assert cosine[analogue].mean() == pytest.approx(1 / 3, abs=4.5 * 0.55 / analogue.sum() ** 0.5)
    others = ~analogue
    assert cosine[others].mean() == pytest.approx(-1 / 9, abs=4.5 * 0.58 / others.sum() ** 0.5)


def test_gammas_are_blips_within_tens_of_centimetres():
    photons, protons = events._deexcite(
        np.random.default_rng(2), np.full(500, spectra.ANALOGUE), CONFIG
    )
    assert len(protons) == 0
    assert np.bincount(photons.event, photons.mev) == pytest.approx(spectra.ANALOGUE)
    assert photons.mev.min() > 0.02
    made = transport(np.random.default_rng(3), gather([]), photons, CONFIG)
    distance = np.linalg.norm(made.position, axis=1)
    assert 10 < np.average(distance, weights=made.mev) < 40


def test_elastic_scattering_points_at_the_neutrino():
    found = events.draw("es", np.random.default_rng(1), 2000, CONFIG)
    cosine = (found.direction * found.neutrino_direction).sum(axis=1)
    mass, kinetic = argon.ELECTRON_MEV, found.electron_mev
    expected = (1 + mass / found.neutrino_mev) * np.sqrt(kinetic / (kinetic + 2 * mass))
    assert cosine == pytest.approx(expected, abs=1e-6)
    assert np.median(cosine) > 0.95
    assert kinetic.min() >= CONFIG.es_least_mev
    assert np.all(kinetic <= spectra.es_most(found.neutrino_mev) + 1e-9)
    assert deposited(found) == pytest.approx(kinetic, rel=1e-9)


def test_solar_events_end_where_the_sun_does():
    found = events.draw("solar", np.random.default_rng(1), 2000, CONFIG)
    assert found.neutrino_mev.max() < 18.8
    assert found.neutrino_mev.min() > 3.79
    assert 9 < found.neutrino_mev.mean() < 11


def test_muons_cross_and_michel_electrons_end_muons():
    rng = np.random.default_rng(1)
    crossing = events.draw("muon", rng, 30, CONFIG)
    assert not crossing.electron_mev.any()
    inside = np.linalg.norm(crossing.deposits.position, axis=1) < 50
    assert crossing.deposits.mev[inside].sum() / 30 / 100 == pytest.approx(2.5, rel=0.08)
    stopping = events.draw("michel", rng, 300, CONFIG)
    decays = stopping.electron_mev > 0
    assert decays.mean() == pytest.approx(0.5 + 0.5 * 0.25, abs=4.5 * 0.5 / np.sqrt(300))
    assert stopping.electron_mev.max() < 52.4
    # the Bragg peak: more in the last centimetre than a metre before
    captured = ~decays[stopping.deposits.event]
    distance = np.linalg.norm(stopping.deposits.position, axis=1)
    last = stopping.deposits.mev[captured & (distance < 1)].sum()
    before = stopping.deposits.mev[captured & (distance > 100) & (distance < 101)].sum()
    assert last > 2.5 * before
    mixed = events.draw("other", rng, 300, LartpcConfig(michel_share=0.0))
    assert not mixed.electron_mev.any()


def test_unknown_kinds_of_events():
    for kind in ("noise", "tau", ""):
        with pytest.raises(InputError, match="no kind of event"):
            events.draw(kind, np.random.default_rng(0), 1, CONFIG)


def test_no_events():
    for kind in ("nue_cc", "es", "solar", "other"):
        found = events.draw(kind, np.random.default_rng(0), 0, CONFIG)
        assert len(found.neutrino_mev) == len(found.deposits) == 0


# From deposits to counts


@settings(max_examples=25)
@given(
    st.floats(0, 300),
    st.floats(20, 44),
    st.floats(5, 470),
    st.lists(st.floats(0.01, 3), min_size=1, max_size=4),
)
def test_area_of_the_signal_is_the_charge(x_cm, tick, wire, mev):
    """Charge in, less what attaches, is the area of the counts: 143 a ke- and tick."""
    n = len(mev)
    vertices = deposits.Vertices(
        np.full(n, tick), np.full(n, wire), np.full(n, x_cm), np.full(n, 10.0)
    )
    charge = np.array(mev) * 1e6 / 23.6 * 0.7
    made = deposits.Deposits(np.arange(n), np.zeros((n, 3)), np.array(mev), charge)
    arrived = deposits.drift(made, vertices, CONFIG)
    canvas = np.zeros((n * 64, 480), np.float32)
    deposits.add_signal(canvas, arrived.event, arrived, 64, CONFIG)
    left = charge * np.exp(-x_cm / 0.16 / CONFIG.lifetime_us)
    area = canvas.reshape(n, -1).sum(axis=1) / (left / 1000)
    assert area == pytest.approx(143, rel=0.015)


def test_diffusion_widens_with_the_drift():
    n = 2
    vertices = deposits.Vertices(
        np.full(n, 30.0), np.full(n, 100.5), np.array([0.0, 350.0]), np.full(n, 10.0)
    )
    made = deposits.Deposits(np.arange(n), np.zeros((n, 3)), np.ones(n), np.full(n, 30_000.0))
    arrived = deposits.drift(made, vertices, CONFIG)
    canvas = np.zeros((n * 64, 480), np.float32)
    deposits.add_signal(canvas, arrived.event, arrived, 64, CONFIG)
    pulse = canvas.reshape(n, 64, 480).sum(axis=2)
    ticks = np.arange(64)
    pulse = pulse / pulse.sum(axis=1, keepdims=True)
    mean = (pulse * ticks).sum(axis=1)
    variance = (pulse * (ticks - mean[:, None]) ** 2).sum(axis=1)
    drift_s = 350 / 0.16 * 1e-6
    expected = 2 * CONFIG.diffusion_l_cm2_s * drift_s / CONFIG.tick_cm**2
    assert variance[1] - variance[0] == pytest.approx(expected, rel=0.05)


def test_frames_keep_to_themselves():
    """A deposit near the end of a frame shows nothing in the next; one off the plane nothing."""
    vertices = deposits.Vertices(
        np.array([63.5, 63.5]), np.array([479.9, -0.1]), np.full(2, 1.0), np.full(2, 1.0)
    )
    made = deposits.Deposits(np.arange(2), np.zeros((2, 3)), np.ones(2), np.full(2, 1e4))
    arrived = deposits.drift(made, vertices, CONFIG)
    assert list(arrived.event) == [0]
    canvas = np.zeros((2 * 64, 480), np.float32)
    deposits.add_signal(canvas, arrived.event, arrived, 64, CONFIG)
    assert np.abs(canvas[:64]).max() > 10
    assert not canvas[64:].any()


def test_signal_equals_the_kernel_where_nothing_diffuses():
    config = LartpcConfig(diffusion_l_cm2_s=0.0, diffusion_t_cm2_s=0.0)
    vertices = deposits.Vertices(
        np.array([20.3]), np.array([100.55]), np.array([0.0]), np.array([1.0])
    )
    made = deposits.Deposits(np.arange(1), np.zeros((1, 3)), np.ones(1), np.full(1, 1e3))
    canvas = np.zeros((64, 480), np.float32)
    arrived = deposits.drift(made, vertices, config)
    deposits.add_signal(canvas, arrived.event, arrived, 64, config)
    kernel = 1e3 * response.kernels(config)[5, 0]
    begin = 20 - response.BEFORE
    found = canvas[begin : begin + response.KERNEL_TICKS, 99:102].T
    assert found == pytest.approx(kernel, rel=1e-5, abs=1e-5)
    assert np.abs(canvas).sum() == pytest.approx(np.abs(kernel).sum(), rel=1e-5)
