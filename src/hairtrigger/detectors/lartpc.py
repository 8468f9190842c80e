"""Simulated images of a liquid-argon collection plane: noise, radiologicals, neutrinos, and truth.

made = simulate(200, seed=1, kind="nue_cc")
made.images                     # uint16 (200, 64, 480): tick-major, as data arrive
made.truth["visible_mev"]
"""

from __future__ import annotations

import operator
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from hairtrigger.detectors import lartpc_events, lartpc_noise
from hairtrigger.detectors import lartpc_response as response
from hairtrigger.detectors.lartpc_config import CLASSES, TICKS, LartpcConfig
from hairtrigger.errors import InputError

BLOCK_IMAGES = lartpc_noise.BLOCK_TICKS // TICKS
"""Images made at once. Part of what a seed means."""

TRUTH_DTYPE = np.dtype(
    [
        ("kind", "u1"),
        ("visible_mev", "<f4"),
        ("neutrino_mev", "<f4"),
        ("electron_mev", "<f4"),
        ("direction", "<f4", (3,)),
        ("n_radiological", "u1"),
        ("wire", "<f4"),
        ("tick", "<f4"),
    ]
)


@dataclass(frozen=True)
class LartpcImages:
    """``images`` uint16 (n, TICKS, wires), ``truth`` (n,) of TRUTH_DTYPE, and what made them."""

    images: np.ndarray
    truth: np.ndarray
    config: LartpcConfig
    seed: int

    def __len__(self) -> int:
        return len(self.images)


def simulate(
    images: int,
    *,
    seed: int,
    config: LartpcConfig | None = None,
    kind: str = "noise",
    start: int = 0,
    threads: int | None = None,
) -> LartpcImages:
    """``images`` images of one ``kind``, the ones from number ``start`` of the series of ``seed``."""
    images, start = _whole("images", images), _whole("start", start)
    seed = _whole("seed", seed)
    config = config or LartpcConfig()
    if kind not in CLASSES:
        raise InputError(f"kind = {kind!r} is unknown", f"give one of {', '.join(CLASSES)}")
    out = np.empty((images, TICKS, config.wires), np.uint16)
    truth = np.zeros(images, TRUTH_DTYPE)

    def fill(index: int) -> None:
        first = index * BLOCK_IMAGES
        cut = slice(max(start - first, 0), min(start + images - first, BLOCK_IMAGES))
        to = slice(first + cut.start - start, first + cut.stop - start)
        made, told = _block(index, seed, kind, config)
        out[to], truth[to] = made[cut], told[cut]

    if images:
        blocks = range(start // BLOCK_IMAGES, (start + images - 1) // BLOCK_IMAGES + 1)
        with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
            list(pool.map(fill, blocks))
    return LartpcImages(out, truth, config, seed)


def _block(index: int, seed: int, kind: str, config: LartpcConfig):
    made = lartpc_noise.block(index, seed, config).reshape(BLOCK_IMAGES, TICKS, config.wires)
    rng = np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed, spawn_key=(index, 2))))
    truth = np.zeros(BLOCK_IMAGES, TRUTH_DTYPE)
    rate = config.ar39_bq_cm3 * config.volume_cm3 * config.tick_ns * 1e-9 * TICKS
    n = rng.poisson(rate * BLOCK_IMAGES)
    where = rng.integers(0, BLOCK_IMAGES, n)
    truth["n_radiological"] = np.bincount(where, minlength=BLOCK_IMAGES)
    mev = 0.565 * rng.beta(1.7, 2.6, n)
    electrons = mev * 1e6 / config.work_function_ev * config.recombination
    _add(made, where, rng.random(n) * TICKS, rng.random(n) * config.wires, electrons, config)
    if kind != "noise":
        truth["kind"] = CLASSES.index(kind)
        deposits, neutrino, electron, direction = lartpc_events.nue_cc(rng, BLOCK_IMAGES, config)
        at_tick = rng.uniform(0, TICKS, BLOCK_IMAGES)[deposits.event]
        at_wire = rng.uniform(0, config.wires, BLOCK_IMAGES)[deposits.event]
        tick = at_tick + deposits.position[:, 0] / config.tick_cm
        wire = at_wire + deposits.position[:, 2] / config.pitch_cm
        inside = (tick >= 0) & (tick < TICKS) & (wire >= 0) & (wire < config.wires)
        event, mev = deposits.event, deposits.mev * inside
        visible = np.bincount(event, mev, BLOCK_IMAGES)
        truth["visible_mev"] = visible
        truth["neutrino_mev"], truth["electron_mev"] = neutrino, electron
        truth["direction"] = direction
        for name, value in (("tick", tick), ("wire", wire)):
            truth[name] = np.bincount(event, mev * value, BLOCK_IMAGES) / np.maximum(visible, 1e-9)
        _add(made, event, tick, wire, deposits.electrons, config)
    made += np.float32(config.pedestal * config.counts + 0.5)
    np.clip(made, 0, 2**config.adc_bits - 1, out=made)
    return made.astype(np.uint16), truth


def _add(made, image, tick, wire, electrons, config) -> None:
    """Add charges to images, each image for itself."""
    table = response.kernels(config)
    t, w = np.floor(tick).astype(int), np.floor(wire).astype(int)
    s = ((tick - t) * response.SUBTICKS).astype(int)
    i = ((wire - w) * response.IMPACTS).astype(int)
    flat = made.reshape(-1)
    for n in range(-response.SIDE, response.SIDE + 1):
        kernel = table[i, s, n + response.SIDE] * electrons[:, None].astype(np.float32)
        ticks = t[:, None] - response.BEFORE + np.arange(response.KERNEL_TICKS)
        good = (ticks >= 0) & (ticks < TICKS) & ((w + n >= 0) & (w + n < config.wires))[:, None]
        cell = (image[:, None] * TICKS + ticks) * config.wires + (w + n)[:, None]
        np.add.at(flat, cell[good], kernel[good])


def _whole(name: str, value: object) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = -1
    if isinstance(value, bool) or number < 0:
        raise InputError(f"{name} = {value!r} is no whole number of 0 or more", "give one")
    return number
