"""Events of each class in the argon: kinematics, then ionisation by lartpc_transport."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hairtrigger.detectors import lartpc_argon as argon
from hairtrigger.detectors import lartpc_spectra as spectra
from hairtrigger.detectors.lartpc_config import LartpcConfig
from hairtrigger.detectors.lartpc_deposits import Deposits, join
from hairtrigger.detectors.lartpc_transport import (
    Particles,
    deposit,
    fluctuate,
    gather,
    isotropic,
    particles,
    transport,
    turn,
)
from hairtrigger.errors import InputError

# Low levels of 40K: energy (MeV), spin, parity; cascades end in the first two (facts: level
# scheme), branchings are assumed: E^3 for a dipole, less for a change of parity and for more spin
_LOW_LEVELS = np.array(
    [
        *((0.0, 4, -1), (0.030, 3, -1), (0.800, 2, -1), (0.891, 5, -1), (1.644, 0, 1)),
        *((1.959, 2, 1), (2.047, 2, -1), (2.070, 3, -1), (2.104, 1, -1), (2.260, 3, 1)),
        *((2.290, 1, 1), (2.576, 2, 1), (2.730, 1, 1), (3.146, 1, 1), (3.798, 1, 1)),
    ]
)
_PARITY_COST, _SPIN_COST = 0.1, 0.003

_NUCLEON_SHARE, _PROTON_SHARE, PROTON_RECOMBINATION = 0.7, 0.4, 0.35
"""Of states that may: how many lose a nucleon, how many of these a proton, and what recombination
leaves of its charge (assumed). Neutrons leave without a trace."""

MUON_STEP_CM, THROUGH_MEV = 0.15, 4000.0
"""Steps of muons, and the energy of those that cross."""

MUON_LIFE_US = (2.197, 0.57)
"""Of a stopped mu+ and mu-; three quarters of the mu- are captured (assumed)."""

_CAPTURED = 0.75


@dataclass(frozen=True)
class Events:
    """Events without a place: ``deposits`` around the vertex, and their truth, (n,) each:
    ``neutrino_mev``, ``electron_mev`` kinetic, ``direction`` (n, 3) of the electron (of the muon
    where one crosses), ``neutrino_direction`` (n, 3); 0 where there is none."""

    deposits: Deposits
    neutrino_mev: np.ndarray
    electron_mev: np.ndarray
    direction: np.ndarray
    neutrino_direction: np.ndarray


def take(events: Events, part: slice) -> Events:
    """The events of a slice with step 1, numbered from 0."""
    deposits = events.deposits.select(
        (events.deposits.event >= part.start) & (events.deposits.event < part.stop)
    )
    return Events(
        Deposits(deposits.event - part.start, deposits.position, deposits.mev, deposits.electrons),
        events.neutrino_mev[part],
        events.electron_mev[part],
        events.direction[part],
        events.neutrino_direction[part],
    )


def draw(kind: str, rng: np.random.Generator, n: int, config: LartpcConfig) -> Events:
    """``n`` events of a class: "nue_cc", "es", "solar", "other"; of "other", "muon" and "michel"
    alone. Raises InputError for another."""
    match kind:
        case "nue_cc":
            low, high = config.supernova_range_mev
            return _cc(
                rng, spectra.draw(rng, spectra.supernova(config, "cc"), low, high, n), config
            )
        case "solar":
            return _cc(rng, spectra.draw(rng, spectra.solar(config), 3.8, 19.0, n), config)
        case "es":
            return _es(rng, n, config)
        case "muon":
            return _muons(rng, np.zeros(n, bool), config)
        case "michel":
            return _muons(rng, np.ones(n, bool), config)
        case "other":
            return _muons(rng, rng.random(n) < config.michel_share, config)
    raise InputError(
        f"kind = {kind!r} is no kind of event", "give nue_cc, es, solar, other, muon or michel"
    )


def _cc(rng: np.random.Generator, neutrino: np.ndarray, config: LartpcConfig) -> Events:
    """nu_e CC: the electron, and what the 40K left behind gives off."""
    n = len(neutrino)
    rates, states = spectra.cc_parts(neutrino)
    pick = (np.cumsum(rates, axis=1) < (rng.random(n) * rates.sum(axis=1))[:, None]).sum(axis=1)
    excitation = states[np.minimum(pick, len(states) - 1)]
    kinetic = np.maximum(neutrino - spectra.CC_THRESHOLD_MEV - excitation, 1e-3)
    incoming = isotropic(rng, n)
    total = kinetic + argon.ELECTRON_MEV
    beta = np.sqrt(1 - (argon.ELECTRON_MEV / total) ** 2)
    # 1 + a cos: Fermi transitions forwards, Gamow-Teller ones backwards
    slope = np.where(excitation == spectra.ANALOGUE, beta, -beta / 3)
    outgoing = turn(incoming, _linear_cosine(rng, slope), rng.uniform(0, 2 * np.pi, n))
    origin = np.zeros((n, 3))
    electrons = particles(np.arange(n), origin, outgoing, kinetic)
    photons, protons = _deexcite(rng, excitation, config)
    made = join([transport(rng, electrons, photons, config), protons])
    return Events(made, neutrino, kinetic, outgoing, incoming)


def _linear_cosine(rng: np.random.Generator, slope: np.ndarray) -> np.ndarray:
    """Cosines with density 1 + slope * cosine, |slope| at most 1."""
    cosine = rng.uniform(-1, 1, len(slope))
    return np.where(rng.random(len(slope)) * 2 < 1 + slope * cosine, cosine, -cosine)


def _deexcite(
    rng: np.random.Generator, excitation: np.ndarray, config: LartpcConfig
) -> tuple[Particles, Deposits]:
    """Photons of cascades from states to the ground, and protons where one is lost."""
    event = np.arange(len(excitation))
    left = excitation.copy()
    breaks = (left > spectra.SEPARATION_MEV) & (rng.random(len(left)) < _NUCLEON_SHARE)
    kinetic = (left[breaks] - spectra.SEPARATION_MEV) * rng.random(breaks.sum())
    left[breaks] -= spectra.SEPARATION_MEV + kinetic
    proton = rng.random(len(kinetic)) < _PROTON_SHARE
    at = event[breaks][proton]
    protons = deposit(at, np.zeros((len(at), 3)), kinetic[proton], PROTON_RECOMBINATION, config)

    made = []
    now, energy = event, left
    spin, parity = np.ones(len(event)), np.ones(len(event))
    spin[np.isclose(excitation, spectra.ANALOGUE)] = 0
    while len(now):
        gap = energy[:, None] - _LOW_LEVELS[:, 0]
        change = np.abs(spin[:, None] - _LOW_LEVELS[:, 1])
        weight = np.maximum(gap, 0) ** 3 * _SPIN_COST ** np.maximum(change - 1, 0)
        weight *= np.where(parity[:, None] == _LOW_LEVELS[:, 2], 1.0, _PARITY_COST)
        weight[(spin[:, None] == 0) & (_LOW_LEVELS[:, 1] == 0)] = 0
        weight[gap < 0.02] = 0
        total = weight.sum(axis=1)
        go = total > 0
        now, energy, weight, total = now[go], energy[go], weight[go], total[go]
        pick = (np.cumsum(weight, axis=1) < (rng.random(len(now)) * total)[:, None]).sum(axis=1)
        to = _LOW_LEVELS[np.minimum(pick, len(_LOW_LEVELS) - 1)]
        ways = isotropic(rng, len(now))
        made.append(particles(now, np.zeros((len(now), 3)), ways, energy - to[:, 0]))
        energy, spin, parity = to[:, 0], to[:, 1], to[:, 2]
    return gather(made), protons


def _es(rng: np.random.Generator, n: int, config: LartpcConfig) -> Events:
    """nu_e and electrons: the recoil spectrum and the angle that goes with it."""
    low, high = config.supernova_range_mev
    least = config.es_least_mev
    enough = (least + np.sqrt(least * (least + 2 * argon.ELECTRON_MEV))) / 2 + 1e-6
    density = spectra.supernova(config, "es")
    neutrino = spectra.draw(rng, density, max(low, enough), high, n)
    kinetic = np.empty(n)
    todo = np.arange(n)
    while len(todo):
        energy = neutrino[todo]
        most = spectra.es_most(energy)
        tried = least + (most - least) * rng.random(len(todo))
        peak = spectra.es_recoil(energy, np.zeros(len(todo)))
        good = rng.random(len(todo)) * peak < spectra.es_recoil(energy, tried)
        kinetic[todo[good]] = tried[good]
        todo = todo[~good]
    mass = argon.ELECTRON_MEV
    cosine = (1 + mass / neutrino) * np.sqrt(kinetic / (kinetic + 2 * mass))
    incoming = isotropic(rng, n)
    outgoing = turn(incoming, np.minimum(cosine, 1.0), rng.uniform(0, 2 * np.pi, n))
    electrons = particles(np.arange(n), np.zeros((n, 3)), outgoing, kinetic)
    made = transport(rng, electrons, gather([]), config)
    return Events(made, neutrino, kinetic, outgoing, incoming)


def _muons(rng: np.random.Generator, stops: np.ndarray, config: LartpcConfig) -> Events:
    """Muons from above (cos^2 of the zenith) that cross the vertex, or stop in it and decay."""
    n = len(stops)
    direction = _from_above(rng, n)
    size = np.array([config.drift_cm, config.height_cm, config.width_cm])
    farthest = np.min(size / np.maximum(np.abs(direction), 1e-9), axis=1)
    steps = int(np.linalg.norm(size) / MUON_STEP_CM)
    along = (np.arange(-steps, steps) + 0.5) * MUON_STEP_CM
    inside = np.abs(along) < farthest[:, None]  # beyond, the argon ends on one side or the other
    at, step = np.nonzero(inside & (~stops[:, None] | (along < 0)))
    where = along[step, None] * direction[at]
    mean = np.full(len(at), float(argon.muon_loss(np.array(THROUGH_MEV))) * MUON_STEP_CM)
    ends = stops[at]
    energies, ranges = argon.muon_range()
    kinetic = np.interp(-along[:steps], ranges, energies)
    mean[ends] = argon.muon_loss(np.maximum(kinetic, 1.0))[step[ends]] * MUON_STEP_CM
    mev = fluctuate(rng, mean, np.full(len(mean), MUON_STEP_CM), 1.0)
    track = deposit(at, where, mev, config.recombination, config)
    decays, kinetic_e, ways = _decay(rng, stops, config)
    outgoing = np.where((kinetic_e > 0)[:, None], ways, direction)
    return Events(join([track, decays]), np.zeros(n), kinetic_e, outgoing, np.zeros((n, 3)))


def _from_above(rng: np.random.Generator, n: int) -> np.ndarray:
    """Directions downwards (-y), density cos^2 of the zenith angle per solid angle."""
    cosine = rng.random(n) ** (1 / 3)
    phi = rng.uniform(0, 2 * np.pi, n)
    return turn(np.tile([0.0, -1.0, 0.0], (n, 1)), cosine, phi)


def _decay(
    rng: np.random.Generator, stops: np.ndarray, config: LartpcConfig
) -> tuple[Deposits, np.ndarray, np.ndarray]:
    """Michel electrons of muons that stop: ionisation, kinetic energy (0: none) and direction.

    Their delay is put in as a longer drift; mu+ and mu- alike, some mu- are captured instead.
    """
    n = len(stops)
    positive = rng.random(n) < 0.5
    decays = stops & (positive | (rng.random(n) > _CAPTURED))
    mass = argon.ELECTRON_MEV
    total = spectra.draw(rng, spectra.michel, mass, 52.83, n)
    kinetic = np.where(decays, np.maximum(total - mass, 0.01), 0.0)
    ways = isotropic(rng, n)
    delay = rng.exponential(1, n) * np.where(positive, *MUON_LIFE_US)
    late = np.zeros((n, 3))
    late[:, 0] = delay * config.drift_cm_us
    at = np.nonzero(decays)[0]
    electrons = particles(at, late[at], ways[at], kinetic[at], positive[at])
    return transport(rng, electrons, gather([]), config), kinetic, ways
