"""From arriving charges to hits: sharing, shaping, threshold, peak, dead time, ADC and time code.

Charges are put on a grid of STEP_NS, split between two grid points so that their mean time stays.
Only strips that see charge are followed. A hit is the first peak after a rising crossing of the
threshold in a strip that is not dead; its time is the time of the peak less the peaking time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hairtrigger.detectors.strips_config import StripsConfig
from hairtrigger.detectors.strips_drift import Arrivals, join

STEP_NS = 5.0
"""Step of the simulated pulses."""

PAD = 2
"""Strips followed beyond each border of the image, whose charge is shared into it."""


@dataclass(frozen=True)
class Grid:
    """Times of the simulated pulses: ``steps`` of STEP_NS from ``start_ns``."""

    start_ns: float
    steps: int


@dataclass(frozen=True)
class Hits:
    """What is read out of ``n`` planes, (n, strips) each; see strips.Planes."""

    charge: np.ndarray
    time: np.ndarray
    muon_share: np.ndarray


def grid(config: StripsConfig) -> Grid:
    """From so early that strips dead at the window's start are so, to the last peak in it."""
    start, stop = config.window_ns
    first = start - config.dead_ns - STEP_NS
    last = stop + config.peaking_ns + 2 * STEP_NS
    return Grid(first, math.ceil((last - first) / STEP_NS) + 1)


def particles_from_ns(config: StripsConfig) -> float:
    """Earliest time of a particle that can matter: its last electron makes a strip dead."""
    return grid(config).start_ns - config.full_drift_ns


def read_out(
    rng: np.random.Generator,
    muon: Arrivals,
    other: Arrivals,
    planes: int,
    strips: int,
    config: StripsConfig,
) -> Hits:
    """Hits of ``planes`` images of ``strips`` strips, from the muons' charges and others'."""
    width = strips + 2 * PAD
    axis = grid(config)
    muon, muon_at = _placed(muon, width, axis)
    other, other_at = _placed(other, width, axis)
    active, column = _active(muon_at, other_at, planes, width)
    total = len(active)
    ours, others = column[muon_at], column[other_at]
    canvas = _canvas(join([muon, other]), np.concatenate([ours, others]), axis, total)
    canvas = share(canvas, config)
    shape(canvas, config)
    noise = np.float32(config.noise_e) * rng.standard_normal(total, dtype=np.float32)
    jitter = rng.standard_normal(total, dtype=np.float32)
    peak, step = _find_peaks(canvas, noise, axis, config)
    part = _muon_part(muon, ours, _any(others, total), canvas, step, axis, config)
    return _digitise(active, peak, step, jitter, part, axis, (planes, strips), config)


def _muon_part(
    muon: Arrivals,
    columns: np.ndarray,
    others: np.ndarray,
    canvas: np.ndarray,
    step: np.ndarray,
    axis: Grid,
    config: StripsConfig,
) -> np.ndarray:
    """Share of the muon in each column's pulse at a step, float32 (columns,).

    Only where both come together do the muon's pulses have to be made alone.
    """
    near = _near(_any(columns, len(others)))
    part = near.astype(np.float32)
    mixed = near & _near(others)
    if not mixed.any():
        return part
    wanted = _near(mixed)
    place = np.cumsum(wanted) - 1
    keep = wanted[columns]
    kept = Arrivals(*(getattr(muon, name)[keep] for name in Arrivals.__dataclass_fields__))
    alone = _canvas(kept, place[columns[keep]], axis, int(wanted.sum()))
    alone = share(alone, config)
    shape(alone, config)
    where = np.flatnonzero(mixed)
    at = np.clip(np.rint(step[where]).astype(np.int64), 0, axis.steps - 1)
    whole = np.maximum(canvas[at, where], 1.0)
    part[where] = np.clip(alone[at, place[where]] / whole, 0, 1)
    return part


def _placed(arrivals: Arrivals, width: int, axis: Grid) -> tuple[Arrivals, np.ndarray]:
    """Arrivals at followed strips within the grid, and their flat strips."""
    strip = arrivals.strip + PAD
    moved = arrivals.time_ns - np.float32(axis.start_ns)
    keep = (strip >= 0) & (strip < width) & (moved >= 0)
    keep &= moved < np.float32((axis.steps - 1) * STEP_NS)
    kept = Arrivals(arrivals.plane[keep], strip[keep], moved[keep], arrivals.charge_e[keep])
    return kept, kept.plane * width + kept.strip


def _active(
    muon_at: np.ndarray, other_at: np.ndarray, planes: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Flat strips that charge is shared to, with two empty ones at each end of a run, and the
    column of each flat strip."""
    hit = np.zeros((planes, width + 2 * PAD), bool)
    inner = np.zeros(planes * width, bool)
    inner[muon_at] = True
    inner[other_at] = True
    hit[:, PAD:-PAD] = inner.reshape(planes, width)
    near = _near(hit.reshape(-1)).reshape(hit.shape)
    active = np.flatnonzero(near)
    column = np.full(near.size, -1, np.int64)
    column[active] = np.arange(len(active))
    return active, column.reshape(near.shape)[:, PAD:-PAD].reshape(-1)


def _any(columns: np.ndarray, total: int) -> np.ndarray:
    found = np.zeros(total, bool)
    found[columns] = True
    return found


def _near(mask: np.ndarray) -> np.ndarray:
    """Those within two places of a set one, (n,) bool."""
    out = mask.copy()
    for shift in (1, 2):
        out[shift:] |= mask[:-shift]
        out[:-shift] |= mask[shift:]
    return out


def _canvas(arrivals: Arrivals, columns: np.ndarray, axis: Grid, total: int) -> np.ndarray:
    """Charge by step and column, float32 (steps, total)."""
    steps = arrivals.time_ns * np.float32(1 / STEP_NS)
    step = steps.astype(np.int64)
    late = (steps - step) * arrivals.charge_e
    # Arrivals of a plane come together: by column first, they meet in the cache
    flat = columns * axis.steps + step
    size = axis.steps * total
    canvas = np.bincount(flat, arrivals.charge_e - late, size)
    canvas[1:] += np.bincount(flat, late, size)[:-1]
    out = np.empty((axis.steps, total), np.float32)
    out[:] = canvas.reshape(total, axis.steps).T
    return out


def share(canvas: np.ndarray, config: StripsConfig) -> np.ndarray:
    """Each strip's charge shared with two neighbours on each side; the total is kept."""
    near, next_ = config.sharing_nearest, config.sharing_next
    own = np.float32(1 / (1 + 2 * near + 2 * next_))
    if own == 1:
        return canvas
    out = canvas * own
    for shift, part in ((1, np.float32(near) * own), (2, np.float32(next_) * own)):
        given = canvas * part
        out[:, shift:] += given[:, :-shift]
        out[:, :-shift] += given[:, shift:]
    return out


def shape(canvas: np.ndarray, config: StripsConfig) -> None:
    """Charges (steps, n) become pulses, in place: CR-RC^n, whose peak for one charge is that charge.

    (t / tau)^n exp(-t / tau), tau = peaking time / n: a chain of n + 1 equal poles, stepped exactly.
    """
    order = config.shaper_order
    pole = STEP_NS * order / config.peaking_ns
    fade = math.exp(-pole)
    gain = np.float32(math.factorial(order) * math.exp(order) / order**order)
    into = [np.float32(fade * pole**k / math.factorial(k)) for k in range(order + 1)]
    stages = np.zeros((order + 1, canvas.shape[1]), np.float32)
    scratch = np.empty(canvas.shape[1], np.float32)
    for row in canvas:
        for last in range(order, -1, -1):
            stages[last] *= into[0]
            for earlier in range(last):
                np.multiply(stages[earlier], into[last - earlier], out=scratch)
                stages[last] += scratch
        stages[0] += row
        np.multiply(stages[order], gain, out=row)


def _find_peaks(
    canvas: np.ndarray, noise: np.ndarray, axis: Grid, config: StripsConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Height (0: no hit in the window) and step of each column's hit; noise lifts its baseline."""
    total = canvas.shape[1]
    threshold = np.float32(config.threshold_e) - noise
    height, at = np.zeros(total, np.float32), np.zeros(total, np.float32)
    columns = np.flatnonzero((canvas > threshold).any(axis=0))
    pulses, threshold = np.ascontiguousarray(canvas[:, columns]), threshold[columns]
    count = len(columns)
    awake = np.zeros(count, np.float32)
    seeking, found = np.zeros(count, bool), np.zeros(count, bool)
    best, when = np.zeros(count, np.float32), np.zeros(count, np.float32)
    dead = np.float32(config.dead_ns / STEP_NS)
    opens = np.float32((config.window_ns[0] + config.peaking_ns - axis.start_ns) / STEP_NS)
    over = pulses[0] > threshold
    for step in range(1, axis.steps - 1):
        before, now, after = pulses[step - 1], pulses[step], pulses[step + 1]
        was, over = over, now > threshold
        seeking |= over & ~was & (awake <= step)
        top = seeking & (after < now)
        if not top.any():
            continue
        which = np.flatnonzero(top)
        seeking[which] = False
        a, b, c = before[which], now[which], after[which]
        move = np.clip(0.5 * (a - c) / np.minimum(a - 2 * b + c, -1e-3), -1, 1)
        peak_at = step + move
        awake[which] = peak_at + dead
        good = (peak_at >= opens) & ~found[which]
        chosen = which[good]
        found[chosen] = True
        best[chosen] = (b - 0.25 * (a - c) * move)[good]
        when[chosen] = peak_at[good]
    closes = (config.window_ns[1] + config.peaking_ns - axis.start_ns) / STEP_NS
    found &= when <= closes
    height[columns[found]] = best[found] + noise[columns[found]]
    at[columns[found]] = when[found]
    return height, at


def _digitise(
    active: np.ndarray,
    peak: np.ndarray,
    step: np.ndarray,
    jitter: np.ndarray,
    muon_part: np.ndarray,
    axis: Grid,
    shape_: tuple[int, int],
    config: StripsConfig,
) -> Hits:
    planes, strips = shape_
    hit = np.flatnonzero(peak > 0)
    plane, strip = np.divmod(active[hit], strips + 4 * PAD)
    strip -= 2 * PAD
    inside = (strip >= 0) & (strip < strips)
    hit, plane, strip = hit[inside], plane[inside], strip[inside]
    charge = np.zeros((planes, strips), np.uint16)
    time = np.zeros((planes, strips), np.uint8)
    muon_share = np.zeros((planes, strips), np.uint8)
    counts = np.rint(peak[hit] * np.float32(config.counts_e))
    charge[plane, strip] = np.clip(counts, 1, 2**config.adc_bits - 1)
    smear = time_noise_ns(np.maximum(peak[hit], 1.0), config)
    ns = axis.start_ns + STEP_NS * step[hit] - config.peaking_ns + smear * jitter[hit]
    first, last = config.window_ns
    codes = np.rint((ns - first) / config.time_lsb_ns)
    time[plane, strip] = np.clip(codes, 1, math.floor((last - first) / config.time_lsb_ns))
    muon_share[plane, strip] = np.rint(255 * muon_part[hit])
    return Hits(charge, time, muon_share)


def time_noise_ns(peak_e: np.ndarray, config: StripsConfig) -> np.ndarray:
    """Standard deviation of a peak's time that noise makes, ns, of a pulse of one charge.

    White noise through the same shaper: its slope over its rms is n / (tp sqrt(2 n - 1)), and the
    curvature at the peak n / tp^2 of its height, so sigma = noise / height * tp / sqrt(2 n - 1).
    """
    factor = config.noise_e * config.peaking_ns / math.sqrt(2 * config.shaper_order - 1)
    return factor / peak_e
