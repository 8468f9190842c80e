"""Energy deposits of events, and their way to the wires (first, rough version)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hairtrigger.detectors.lartpc_config import LartpcConfig


@dataclass(frozen=True)
class Deposits:
    """Ionisation of events: ``event`` (n,), ``position`` (n, 3) in cm from the vertex (x along the
    drift away from the wires, y along the wires, z across them), ``mev`` and ``electrons`` that
    survive recombination (n,)."""

    event: np.ndarray
    position: np.ndarray
    mev: np.ndarray
    electrons: np.ndarray


def isotropic(rng: np.random.Generator, n: int) -> np.ndarray:
    """Unit vectors (n, 3)."""
    v = rng.normal(size=(n, 3))
    return v / np.linalg.norm(v, axis=1, keepdims=True)


def nue_cc(rng: np.random.Generator, n: int, config: LartpcConfig):
    """Supernova nu_e CC: deposits, neutrino and electron energies (n,), electron directions."""
    a, mean = config.supernova_pinching, config.supernova_mean_mev
    grid = np.linspace(4, 70, 2000)
    weight = grid**a * np.exp(-(a + 1) * grid / mean) * np.maximum(grid - 4.5, 0) ** 2
    cumulative = np.cumsum(weight)
    neutrino = np.interp(rng.random(n), cumulative / cumulative[-1], grid)
    electron = np.maximum(neutrino - 4.4 * rng.beta(3, 2, n) - 1, 0.3)
    direction = isotropic(rng, n)
    steps = np.maximum((electron / 2.1 / 0.1).astype(int), 1)
    event = np.repeat(np.arange(n), steps)
    along = np.arange(steps.sum()) - np.repeat(np.cumsum(steps) - steps, steps)
    bend = rng.normal(0, 0.03, (len(event), 3)) * np.sqrt(20 / electron[event, None])
    turned = np.cumsum(bend, axis=0)
    turned -= turned[np.cumsum(steps) - steps][event]
    moves = direction[event] + turned
    moves /= np.linalg.norm(moves, axis=1, keepdims=True)
    path = np.cumsum(moves * 0.1, axis=0)
    path -= path[np.cumsum(steps) - steps][event]
    mev = (electron / steps)[event]
    gammas = rng.poisson(3, n)
    at = np.repeat(np.arange(n), gammas)
    blip = isotropic(rng, len(at)) * rng.exponential(15, len(at))[:, None]
    energy = rng.uniform(0.2, 1.6, len(at))
    event, path = np.concatenate([event, at]), np.concatenate([path, blip])
    mev = np.concatenate([mev, energy])
    del along
    electrons = mev * 1e6 / config.work_function_ev * config.recombination
    return Deposits(event, path, mev, electrons), neutrino, electron, direction
