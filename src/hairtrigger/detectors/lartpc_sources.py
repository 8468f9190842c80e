"""Radiologicals in the argon: Ar39, Kr85, Rn222 with its daughters, Ar42 with K42."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hairtrigger.detectors import lartpc_spectra as spectra
from hairtrigger.detectors.lartpc_config import LartpcConfig
from hairtrigger.detectors.lartpc_deposits import Deposits, Vertices, draw_vertices, join
from hairtrigger.detectors.lartpc_transport import deposit, gather, isotropic, particles, transport

SOURCES = ("ar39", "kr85", "rn222", "ar42")

AR39_END_MEV, KR85_END_MEV, AR42_END_MEV, K42_END_MEV = 0.565, 0.687, 0.599, 3.525

TRACK_MEV = 0.3
"""Electrons below are points: they go less than 0.7 mm."""

RADON_ALPHAS_MEV = (5.49, 6.00, 7.69)
"""Rn222, Po218, Po214."""

RADON_BETAS = ((0.73, 83, 0.352), (1.54, 84, 0.609))
"""Pb214 and Bi214: end point of the main branch, charge of the daughter, its strongest photon
(the schemes are simplified: assumed)."""


@dataclass(frozen=True)
class Decays:
    """Decays that arrive in some ticks: ``source`` (n,), index in SOURCES, ``vertices``, and their
    ``deposits``, with the number of the decay as the event."""

    source: np.ndarray
    vertices: Vertices
    deposits: Deposits

    def __len__(self) -> int:
        return len(self.source)


def draw_decays(rng: np.random.Generator, ticks: int, config: LartpcConfig) -> Decays:
    """Decays whose electrons arrive within ``ticks``, everywhere alike.

    Radon and its four daughters decay at one rate but at places and times of their own, and so do
    Ar42 and K42: argon moves while they live (Po214 after Bi214, 164 us, is taken for that too).
    """
    seconds = ticks * config.tick_ns * 1e-9
    rates = np.array([getattr(config, f"{name}_bq_cm3") for name in SOURCES])
    chain = np.array([1, 1, len(RADON_ALPHAS_MEV) + len(RADON_BETAS), 2])
    counts = rng.poisson(rates * chain * config.volume_cm3 * seconds)
    source = np.repeat(np.arange(len(SOURCES)), counts)
    n = len(source)
    vertices = draw_vertices(rng, n, ticks, config)

    mev = np.zeros(n)
    photon = np.zeros(n)
    alpha = np.zeros(n, bool)
    stage = (rng.random(n) * chain[source]).astype(int)
    single = ((0, 0, AR39_END_MEV, 19), (1, 0, KR85_END_MEV, 37), (3, 0, AR42_END_MEV, 19))
    for kind, step, end, daughter in (*single, (3, 1, K42_END_MEV, 20)):
        _betas(rng, mev, (source == kind) & (stage == step), end, daughter, True)
    for step, energy in enumerate(RADON_ALPHAS_MEV):
        here = (source == 2) & (stage == step)
        mev[here], alpha[here] = energy, True
    for step, (end, daughter, gamma) in enumerate(RADON_BETAS, len(RADON_ALPHAS_MEV)):
        here = (source == 2) & (stage == step)
        _betas(rng, mev, here, end, daughter, False)
        photon[here] = gamma
    return Decays(source, vertices, _ionise(rng, mev, photon, alpha, config))


def _betas(
    rng: np.random.Generator,
    mev: np.ndarray,
    here: np.ndarray,
    end: float,
    daughter: int,
    unique: bool,
) -> None:
    shape = spectra.beta(end, daughter, unique)
    mev[here] = spectra.draw(rng, shape, 0.0, end, int(here.sum()))


def _ionise(
    rng: np.random.Generator,
    mev: np.ndarray,
    photon: np.ndarray,
    alpha: np.ndarray,
    config: LartpcConfig,
) -> Deposits:
    origin = np.zeros((len(mev), 3))
    event = np.arange(len(mev))
    point = ~alpha & (mev < TRACK_MEV)
    made = [
        deposit(event[point], origin[point], mev[point], config.recombination, config),
        deposit(event[alpha], origin[alpha], mev[alpha], config.alpha_recombination, config),
    ]
    tracks, shines = np.nonzero(~alpha & ~point)[0], np.nonzero(photon)[0]
    if len(tracks) or len(shines):
        ways = isotropic(rng, len(tracks)), isotropic(rng, len(shines))
        electrons = particles(tracks, origin[tracks], ways[0], mev[tracks])
        photons = particles(shines, origin[shines], ways[1], photon[shines])
        made.append(transport(rng, electrons, photons, config))
    else:
        made.append(transport(rng, gather([]), gather([]), config))
    return join(made)
