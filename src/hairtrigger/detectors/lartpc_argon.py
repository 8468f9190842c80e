"""How electrons and photons lose energy in liquid argon: rates and tables, no random numbers.

Energies in MeV, lengths in cm. The collision loss is the formula of Bethe with the corrections of
Seltzer and Berger for electrons and of Sternheimer for density; photon rates are Klein-Nishina's
for Compton scattering, and coarse tables for the rest, good to about 10 % (assumed).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

ELECTRON_MEV, MUON_MEV = 0.510999, 105.658
DENSITY, CHARGE, MASS_NUMBER = 1.396, 18.0, 39.948
RADIATION_CM = 19.55 / DENSITY
MEAN_EXCITATION_MEV = 188e-6

_K_MEV_CM2 = 0.307075
PER_CM = _K_MEV_CM2 * CHARGE / MASS_NUMBER * DENSITY
"""K Z / A times density, MeV per cm: ionisation of a particle with beta 1 before logarithms."""

_STERNHEIMER = (5.2146, 0.2000, 3.0000, 0.19559, 3.0000)
"""C, x0, x1, a, k of liquid argon."""

_THOMSON_CM2 = 0.665246e-24
_ATOMS_CM3 = DENSITY / MASS_NUMBER * 6.02214e23

LEAST_PHOTON_MEV = 0.03
"""Bremsstrahlung below, and photons below, stay where they are."""

_PAIR_MEV = np.array([1.022, 1.5, 2, 3, 4, 5, 6, 8, 10, 20, 50, 100])
_PAIR_CM2_G = np.array(
    [1e-9, 2.0e-4, 7.6e-4, 2.2e-3, 3.5e-3, 4.7e-3, 5.7e-3, 7.4e-3, 8.8e-3, 1.33e-2, 1.95e-2, 2.4e-2]
)
_PHOTO_CM2_G, _PHOTO_POWER = 0.045, 2.8
"""Photoelectric: at 0.1 MeV, and its fall."""


def _density_correction(beta_gamma: np.ndarray) -> np.ndarray:
    c, x0, x1, a, k = _STERNHEIMER
    x = np.log10(beta_gamma)
    high = 2 * np.log(10) * x - c
    return np.where(x < x0, 0.0, high + np.where(x < x1, a * np.maximum(x1 - x, 0) ** k, 0.0))


def electron_loss(kinetic: np.ndarray) -> np.ndarray:
    """Mean collision loss of electrons, MeV per cm."""
    tau = np.maximum(np.asarray(kinetic, float), 1e-4) / ELECTRON_MEV
    gamma = tau + 1
    beta2 = 1 - gamma**-2
    shape = 1 - beta2 + (tau**2 / 8 - (2 * tau + 1) * np.log(2)) / gamma**2
    log = np.log(tau**2 * (tau + 2) / 2 / (MEAN_EXCITATION_MEV / ELECTRON_MEV) ** 2)
    return PER_CM / 2 / beta2 * (log + shape - _density_correction(np.sqrt(tau * (tau + 2))))


def muon_loss(kinetic: np.ndarray) -> np.ndarray:
    """Mean collision loss of muons, MeV per cm."""
    gamma = np.maximum(np.asarray(kinetic, float), 0.1) / MUON_MEV + 1
    beta2 = 1 - gamma**-2
    ratio = ELECTRON_MEV / MUON_MEV
    most = 2 * ELECTRON_MEV * beta2 * gamma**2 / (1 + 2 * gamma * ratio + ratio**2)
    log = np.log(2 * ELECTRON_MEV * beta2 * gamma**2 * most / MEAN_EXCITATION_MEV**2) / 2
    return PER_CM / beta2 * (log - beta2 - _density_correction(np.sqrt(gamma**2 - 1)) / 2)


@lru_cache(maxsize=1)
def muon_range() -> tuple[np.ndarray, np.ndarray]:
    """Kinetic energies and ranges of muons, both rising from 0."""
    kinetic = np.concatenate([[0.0], np.geomspace(0.1, 3000, 800)])
    middle = (kinetic[1:] + kinetic[:-1]) / 2
    return kinetic, np.concatenate([[0.0], np.cumsum(np.diff(kinetic) / muon_loss(middle))])


def compton_rate(energy: np.ndarray) -> np.ndarray:
    """Compton scatters per cm, Klein and Nishina."""
    e = np.asarray(energy, float) / ELECTRON_MEV
    log = np.log1p(2 * e)
    first = (1 + e) / e**2 * (2 * (1 + e) / (1 + 2 * e) - log / e)
    section = 0.75 * _THOMSON_CM2 * (first + log / (2 * e) - (1 + 3 * e) / (1 + 2 * e) ** 2)
    return section * CHARGE * _ATOMS_CM3


def pair_rate(energy: np.ndarray) -> np.ndarray:
    """Pairs per cm."""
    log = np.interp(np.log(energy), np.log(_PAIR_MEV), np.log(_PAIR_CM2_G), left=-np.inf)
    return np.exp(log) * DENSITY


def photo_rate(energy: np.ndarray) -> np.ndarray:
    """Photoelectric absorptions per cm."""
    return _PHOTO_CM2_G * (0.1 / np.asarray(energy, float)) ** _PHOTO_POWER * DENSITY


def brems_rate(kinetic: np.ndarray) -> np.ndarray:
    """Photons above LEAST_PHOTON_MEV per cm, thin-target spectrum with complete screening.

    Below some MeV screening is not complete: E / (E + 1.2 MeV) brings the radiative loss near the
    tabulated one (assumed).
    """
    y = np.minimum(LEAST_PHOTON_MEV / np.maximum(kinetic, LEAST_PHOTON_MEV), 1)
    number = -4 / 3 * np.log(y) - 4 / 3 * (1 - y) + (1 - y**2) / 2
    return number / RADIATION_CM * kinetic / (kinetic + 1.2)
