"""Electrons and photons through liquid argon, many events at once: a small shower simulation.

Electrons step with mean collision loss and Moyal fluctuations, Gaussian multiple scattering
(Highland) and bremsstrahlung; photons scatter (Klein-Nishina), make pairs or are absorbed, and
positrons annihilate at rest. No delta rays of their own, no annihilation in flight, no neutrons.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hairtrigger.detectors import lartpc_argon as argon
from hairtrigger.detectors.lartpc_config import LartpcConfig
from hairtrigger.detectors.lartpc_deposits import Deposits, join

STEP_CM = 0.15
"""Longest step of an electron: 2 ticks of drift, a third of a wire."""

STOP_MEV = 0.08
"""An electron below stays where it is: 0.1 mm."""

_MOYAL_MEAN = 1.2703628
"""Mean of a unit Moyal distribution: Euler's constant and ln 2."""


@dataclass(frozen=True)
class Particles:
    """Particles of events, (n,) each but ``position`` and ``direction`` (n, 3): kinetic ``mev``."""

    event: np.ndarray
    position: np.ndarray
    direction: np.ndarray
    mev: np.ndarray
    positron: np.ndarray

    def __len__(self) -> int:
        return len(self.event)

    def select(self, where: np.ndarray) -> Particles:
        """Those at a mask or index."""
        return Particles(
            self.event[where],
            self.position[where],
            self.direction[where],
            self.mev[where],
            self.positron[where],
        )


def particles(
    event: np.ndarray,
    position: np.ndarray,
    direction: np.ndarray,
    mev: np.ndarray,
    positron: np.ndarray | None = None,
) -> Particles:
    """Particles; electrons or photons unless ``positron`` says so."""
    if positron is None:
        positron = np.zeros(len(event), bool)
    return Particles(event, position, direction, mev, positron)


def gather(parts: list[Particles]) -> Particles:
    """All particles of some lists."""
    if not parts:
        none = np.zeros((0, 3))
        return particles(np.zeros(0, np.int64), none, none, np.zeros(0))
    names = ("event", "position", "direction", "mev", "positron")
    return Particles(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def isotropic(rng: np.random.Generator, n: int) -> np.ndarray:
    """Unit vectors (n, 3), every direction alike."""
    cosine, phi = rng.uniform(-1, 1, n), rng.uniform(0, 2 * np.pi, n)
    sine = np.sqrt(1 - cosine**2)
    return np.stack([sine * np.cos(phi), sine * np.sin(phi), cosine], axis=1)


def turn(direction: np.ndarray, cosine: np.ndarray, phi: np.ndarray) -> np.ndarray:
    """Unit vectors at angles (``cosine``, ``phi``) from ``direction`` (n, 3)."""
    helper = np.where(np.abs(direction[:, :1]) < 0.9, [[1.0, 0, 0]], [[0, 1.0, 0]])
    side = np.cross(direction, helper)
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    up = np.cross(direction, side)
    sine = np.sqrt(np.maximum(1 - cosine**2, 0))
    return (
        cosine[:, None] * direction
        + (sine * np.cos(phi))[:, None] * side
        + (sine * np.sin(phi))[:, None] * up
    )


def transport(
    rng: np.random.Generator, electrons: Particles, photons: Particles, config: LartpcConfig
) -> Deposits:
    """All ionisation that electrons (and positrons) and photons, and what they make, leave."""
    made: list[Deposits] = []
    while len(electrons) or len(photons):
        left, radiated = _track(rng, electrons, config)
        made.append(left)
        left, electrons, photons = _scatter(rng, gather([photons, radiated]), config)
        made.append(left)
    return join(made)


def deposit(
    event: np.ndarray, position: np.ndarray, mev: np.ndarray, share: float, config: LartpcConfig
) -> Deposits:
    """Energy left at points, of which recombination leaves a ``share`` of the electrons."""
    return Deposits(event, position, mev, mev * (1e6 / config.work_function_ev * share))


def _track(
    rng: np.random.Generator, now: Particles, config: LartpcConfig
) -> tuple[Deposits, Particles]:
    """Follow electrons to their ends: what they leave, and the photons they make."""
    made, photons = [], []
    while len(now):
        loss = argon.electron_loss(now.mev)
        step = np.clip(0.5 * now.mev / loss, 1e-5, STEP_CM)
        ends = now.mev < STOP_MEV
        beta2 = 1 - (np.maximum(now.mev, 1e-4) / argon.ELECTRON_MEV + 1) ** -2.0
        lost = np.minimum(fluctuate(rng, loss * step, step, beta2), now.mev)
        mev = np.where(ends, now.mev, lost)
        middle = now.position + 0.5 * step[:, None] * now.direction
        made.append(deposit(now.event, middle, mev, config.recombination, config))
        if (ends & now.positron).any():
            photons.append(_annihilate(rng, now.select(ends & now.positron)))
        kinetic = now.mev - mev
        position = now.position + step[:, None] * now.direction
        direction = _scattered(rng, now.direction, kinetic, step)
        radiates = rng.random(len(now)) < argon.brems_rate(kinetic) * step
        radiates &= ~ends & (kinetic > argon.LEAST_PHOTON_MEV)
        if radiates.any():
            energy = _brems_energy(rng, kinetic[radiates])
            at = (now.event[radiates], position[radiates], now.direction[radiates])
            photons.append(particles(*at, energy))
            kinetic[radiates] -= energy
        now = Particles(now.event, position, direction, kinetic, now.positron).select(~ends)
    return join(made), gather(photons)


def fluctuate(
    rng: np.random.Generator, mean: np.ndarray, step_cm: np.ndarray, beta2: np.ndarray | float
) -> np.ndarray:
    """Losses of a mean in a step, with a Moyal's fluctuations of Landau's width.

    Below a fifth of the mean and above four times they are cut: the mean moves by a few percent.
    """
    xi = np.minimum(0.5 * argon.PER_CM * step_cm / beta2, 0.25 * mean)
    moyal = -2 * np.log(np.abs(rng.standard_normal(len(mean))) + 1e-12)
    return np.clip(mean + xi * (moyal - _MOYAL_MEAN), 0.2 * mean, 4 * mean)


def _scattered(
    rng: np.random.Generator, direction: np.ndarray, kinetic: np.ndarray, step: np.ndarray
) -> np.ndarray:
    """Directions after a step: Highland's angle, in a random plane."""
    energy = np.maximum(kinetic, STOP_MEV / 2)
    p_beta = energy * (energy + 2 * argon.ELECTRON_MEV) / (energy + argon.ELECTRON_MEV)
    thick = step / argon.RADIATION_CM
    theta = 13.6 / p_beta * np.sqrt(thick) * np.maximum(1 + 0.038 * np.log(thick), 0.2)
    moved = direction + np.minimum(theta, 1.0)[:, None] * rng.standard_normal(direction.shape)
    return moved / np.linalg.norm(moved, axis=1, keepdims=True)


def _brems_energy(rng: np.random.Generator, kinetic: np.ndarray) -> np.ndarray:
    """Photon energies k with density (4/3 (1 - y) + y^2) / k, y = k / kinetic."""
    energy = np.empty_like(kinetic)
    todo = np.arange(len(kinetic))
    while len(todo):
        top = kinetic[todo]
        k = argon.LEAST_PHOTON_MEV * (top / argon.LEAST_PHOTON_MEV) ** rng.random(len(todo))
        y = k / top
        good = rng.random(len(todo)) * 4 / 3 < 4 / 3 * (1 - y) + y**2
        energy[todo[good]] = k[good]
        todo = todo[~good]
    return energy


def _annihilate(rng: np.random.Generator, stopped: Particles) -> Particles:
    """Two photons of 511 keV, back to back."""
    way = isotropic(rng, len(stopped))
    return particles(
        np.tile(stopped.event, 2),
        np.tile(stopped.position, (2, 1)),
        np.concatenate([way, -way]),
        np.full(2 * len(stopped), argon.ELECTRON_MEV),
    )


def _scatter(
    rng: np.random.Generator, now: Particles, config: LartpcConfig
) -> tuple[Deposits, Particles, Particles]:
    """Move photons to their next interaction: what is left there, and electrons and photons."""
    if not len(now):
        return join([]), gather([]), gather([])
    soft = now.mev < argon.LEAST_PHOTON_MEV
    stays = now.select(soft)
    left = [deposit(stays.event, stays.position, stays.mev, config.recombination, config)]
    now = now.select(~soft)
    rates = np.stack([f(now.mev) for f in (argon.compton_rate, argon.pair_rate, argon.photo_rate)])
    total = rates.sum(axis=0)
    path = rng.exponential(1, len(now)) / total
    position = now.position + path[:, None] * now.direction
    pick = rng.random(len(now)) * total
    compton, photo = pick < rates[0], pick >= rates[0] + rates[1]
    moved = Particles(now.event, position, now.direction, now.mev, now.positron)
    scattered, recoils = _compton(rng, moved.select(compton))
    absorbed = moved.select(photo)
    pairs = _pairs(rng, moved.select(~compton & ~photo))
    return join(left), gather([recoils, absorbed, pairs]), scattered


def _compton(rng: np.random.Generator, now: Particles) -> tuple[Particles, Particles]:
    """Scattered photons and recoil electrons, by rejection from Klein and Nishina."""
    alpha = now.mev / argon.ELECTRON_MEV
    cosine = np.empty(len(now))
    todo = np.arange(len(now))
    while len(todo):
        a = alpha[todo]
        # 1 / ratio flat in its log is close to the density at high energy
        ratio = (1 + 2 * a) ** -rng.random(len(todo))
        c = 1 - (1 / ratio - 1) / a
        good = rng.random(len(todo)) < 1 - ratio * (1 - c**2) / (1 + ratio**2)
        good &= rng.random(len(todo)) * 2 < 1 + ratio**2
        cosine[todo[good]] = c[good]
        todo = todo[~good]
    after = now.mev / (1 + alpha * (1 - cosine))
    way = turn(now.direction, cosine, rng.uniform(0, 2 * np.pi, len(now)))
    momentum = now.mev[:, None] * now.direction - after[:, None] * way
    size = np.maximum(np.linalg.norm(momentum, axis=1, keepdims=True), 1e-12)
    scattered = particles(now.event, now.position, way, after)
    return scattered, particles(now.event, now.position, momentum / size, now.mev - after)


def _pairs(rng: np.random.Generator, now: Particles) -> Particles:
    """Electron and positron along the photon, every share of the energy alike."""
    kinetic = np.maximum(now.mev - 2 * argon.ELECTRON_MEV, 0)
    share = rng.random(len(now)) * kinetic
    return particles(
        np.tile(now.event, 2),
        np.tile(now.position, (2, 1)),
        np.tile(now.direction, (2, 1)),
        np.concatenate([share, kinetic - share]),
        np.repeat([False, True], len(now)),
    )
