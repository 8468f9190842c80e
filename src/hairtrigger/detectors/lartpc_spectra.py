"""Energy spectra and cross-sections: beta decays, neutrinos of a supernova and of the Sun, argon.

Energies in MeV. A spectrum is drawn by the inverse of its tabulated integral.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from hairtrigger.detectors.lartpc_argon import ELECTRON_MEV
from hairtrigger.detectors.lartpc_config import LartpcConfig

ALPHA = 1 / 137.036

CC_THRESHOLD_MEV = 1.504
"""nu_e + 40Ar -> e + 40K: neutrino less kinetic energy of the electron, to the ground state."""

# Levels of 40K (MeV) and their strengths in nu_e capture, after Bhattacharya et al., Phys. Rev. C
# 58 (1998) 3677, rounded; the one at 4.38 is the isobaric analogue (Fermi) state
ANALOGUE = 4.384
LEVELS = np.array(
    [
        *(2.290, 2.730, 2.937, 3.143, 3.334, 3.652, 3.798, 4.067, 4.111, 4.267),
        *(ANALOGUE, 4.522, 4.655, 4.825, 5.017, 5.080, 5.696, 6.006),
    ]
)
STRENGTHS = np.array(
    [
        *(0.90, 1.50, 0.11, 0.06, 0.04, 0.16, 0.26, 0.05, 0.11, 0.29),
        *(3.84, 0.31, 0.38, 0.47, 0.36, 0.23, 0.11, 0.13),
    ]
)
CONTINUUM, CONTINUUM_MEV = 2.0, np.array([7.0, 8.0, 9.0, 10.0, 11.0, 12.0])
"""Strength of states above, and where (assumed); those above SEPARATION_MEV may lose a nucleon."""

SEPARATION_MEV = 7.6

# Weak couplings of nu_e and electrons: g_L = 1/2 + sin^2, g_R = sin^2
_SIN2 = 0.2312

_GRID = 4096


def draw(
    rng: np.random.Generator,
    density: Callable[[np.ndarray], np.ndarray],
    low: float,
    high: float,
    n: int,
) -> np.ndarray:
    """``n`` energies between ``low`` and ``high`` with a density that need not be normalised."""
    return np.interp(rng.random(n), *_integral(density, low, high))


@lru_cache(maxsize=64)
def _integral(
    density: Callable[[np.ndarray], np.ndarray], low: float, high: float
) -> tuple[np.ndarray, np.ndarray]:
    edges = np.linspace(low, high, _GRID + 1)
    weight = np.maximum(density((edges[1:] + edges[:-1]) / 2), 0)
    total = np.concatenate([[0.0], np.cumsum(weight)])
    return total / total[-1], edges


def fermi(charge: float, kinetic: np.ndarray) -> np.ndarray:
    """Pull of a nucleus on an electron that leaves it, of a point charge without relativity."""
    total = kinetic + ELECTRON_MEV
    momentum = np.sqrt(np.maximum(kinetic, 1e-6) * (kinetic + 2 * ELECTRON_MEV))
    x = 2 * np.pi * ALPHA * charge * total / momentum
    return x / -np.expm1(-x)


@lru_cache(maxsize=16)
def beta(
    end_point: float, daughter: int, unique: bool = False
) -> Callable[[np.ndarray], np.ndarray]:
    """The allowed spectrum of a beta decay over kinetic energy, F p E (end - T)^2.

    ``unique``: of a unique first-forbidden decay, times p^2 + (end - T)^2; Ar39, Kr85, Ar42 and the
    main branch of K42 are such.
    """

    def density(kinetic: np.ndarray) -> np.ndarray:
        momentum = np.sqrt(kinetic * (kinetic + 2 * ELECTRON_MEV))
        left = np.maximum(end_point - kinetic, 0)
        shape = momentum**2 + left**2 if unique else 1.0
        return fermi(daughter, kinetic) * momentum * (kinetic + ELECTRON_MEV) * left**2 * shape

    return density


def cc_parts(neutrino: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Relative rates to each state, (n, states), and the excitation energies (states,).

    Allowed transitions: strength F p E of the electron. Absolute numbers have no meaning.
    """
    excitation = np.concatenate([LEVELS, CONTINUUM_MEV])
    strength = np.concatenate([STRENGTHS, np.full(len(CONTINUUM_MEV), CONTINUUM / 6)])
    kinetic = np.asarray(neutrino, float)[:, None] - CC_THRESHOLD_MEV - excitation
    open_ = kinetic > 0
    kinetic = np.where(open_, kinetic, 1.0)
    momentum = np.sqrt(kinetic * (kinetic + 2 * ELECTRON_MEV))
    rate = strength * fermi(19, kinetic) * momentum * (kinetic + ELECTRON_MEV)
    return np.where(open_, rate, 0.0), excitation


def cc_rate(neutrino: np.ndarray) -> np.ndarray:
    """Relative cross-section of nu_e CC on argon."""
    return cc_parts(neutrino)[0].sum(axis=1)


def es_recoil(neutrino: np.ndarray, kinetic: np.ndarray) -> np.ndarray:
    """d sigma / dT of nu_e and electrons, relative: tree level, at most the kinematic limit."""
    left, right = 0.5 + _SIN2, _SIN2
    y = kinetic / neutrino
    shape = left**2 + right**2 * (1 - y) ** 2 - left * right * ELECTRON_MEV * kinetic / neutrino**2
    return np.where(kinetic <= es_most(neutrino), shape, 0.0)


def es_most(neutrino: np.ndarray) -> np.ndarray:
    """The largest recoil: 2 E^2 / (2 E + m)."""
    return 2 * neutrino**2 / (2 * neutrino + ELECTRON_MEV)


def supernova_flux(energy: np.ndarray, config: LartpcConfig) -> np.ndarray:
    """Pinched thermal spectrum: E^a exp(-(a + 1) E / mean)."""
    a, mean = config.supernova_pinching, config.supernova_mean_mev
    return (energy / mean) ** a * np.exp(-(a + 1) * energy / mean)


@lru_cache(maxsize=8)
def supernova(config: LartpcConfig, channel: str) -> Callable[[np.ndarray], np.ndarray]:
    """Energies of neutrinos that interact: flux times cross-section of "cc" or "es"."""

    def density(energy: np.ndarray) -> np.ndarray:
        flux = supernova_flux(energy, config)
        if channel == "cc":
            return flux * cc_rate(energy)
        # the total of es_recoil above the least recoil grows as the room above it
        return flux * np.maximum(es_most(energy) - config.es_least_mev, 0)

    return density


_BORON_TOTAL_MEV = 17.979 - ELECTRON_MEV
_BERYLLIUM_MEV, _BERYLLIUM_WIDTH = 3.9, 1.51
"""The 2+ state lies at 3.03 MeV, with a tail above; moved so that the mean is 6.7 MeV (assumed)."""

_HEP_MEV = 18.77


def boron8(energy: np.ndarray) -> np.ndarray:
    """Neutrinos of B8: allowed decays to the broad 2+ state of Be8 (a Breit-Wigner), nu side."""
    states = np.linspace(0.05, 16.0, 320)
    width = _BERYLLIUM_WIDTH * (states / _BERYLLIUM_MEV) ** 2
    weight = width / ((states - _BERYLLIUM_MEV) ** 2 + width**2 / 4)
    total = _BORON_TOTAL_MEV - states - np.asarray(energy, float)[:, None]
    total = np.maximum(total, ELECTRON_MEV)
    positron = np.sqrt(total**2 - ELECTRON_MEV**2) * total
    return energy**2 * (positron * weight).sum(axis=1) / weight.sum()


def hep(energy: np.ndarray) -> np.ndarray:
    """Neutrinos of He3 + p, an allowed shape up to 18.77 MeV."""
    total = np.maximum(_HEP_MEV + ELECTRON_MEV - energy, ELECTRON_MEV)
    return energy**2 * np.sqrt(total**2 - ELECTRON_MEV**2) * total


@lru_cache(maxsize=8)
def solar(config: LartpcConfig) -> Callable[[np.ndarray], np.ndarray]:
    """Energies of solar neutrinos that make nu_e CC events: B8 and hep by ``hep_share``."""
    grid = np.linspace(0.01, 20, 2000)
    b8, he = (shape(grid).sum() for shape in (boron8, hep))

    def density(energy: np.ndarray) -> np.ndarray:
        flux = boron8(energy) / b8 + config.hep_share * hep(energy) / he
        return flux * cc_rate(energy)

    return density


def michel(energy: np.ndarray) -> np.ndarray:
    """Electrons of muon decay, over total energy: x^2 (3 - 2x), x of 52.83 MeV."""
    x = energy / 52.83
    return np.where(x <= 1, x**2 * (3 - 2 * x), 0.0)
