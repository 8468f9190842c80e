"""Ionisation in the argon, its way to the wires, and its signal there."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from hairtrigger.detectors import lartpc_response as response
from hairtrigger.detectors.lartpc_config import LartpcConfig

# Three points of the Gauss-Hermite rule stand for a Gaussian: its moments to the fifth are kept
_POINTS = np.array([-np.sqrt(3.0), 0.0, np.sqrt(3.0)])
_WEIGHTS = np.array([1 / 6, 2 / 3, 1 / 6])

_PULSES_AT_ONCE = 2000
"""So that what is worked on stays in the processor's cache."""

_DIFFUSED_TICKS = 100
"""More than diffusion moves electrons: 2 ticks rms at the end of the default drift."""


@dataclass(frozen=True)
class Deposits:
    """Points of ionisation, n of them, of many events.

    ``event`` (n,) its number; ``position`` (n, 3) in cm from the vertex: x along the drift, away
    from the wires; y along the wires; z across them; ``mev`` (n,) the energy; ``electrons`` (n,)
    what recombination leaves of it.
    """

    event: np.ndarray
    position: np.ndarray
    mev: np.ndarray
    electrons: np.ndarray

    def __len__(self) -> int:
        return len(self.event)

    def select(self, where: np.ndarray) -> Deposits:
        """Those at a mask or index."""
        return Deposits(
            self.event[where], self.position[where], self.mev[where], self.electrons[where]
        )


def join(parts: list[Deposits]) -> Deposits:
    """All deposits of some lists."""
    if not parts:
        return Deposits(np.zeros(0, np.int64), np.zeros((0, 3)), np.zeros(0), np.zeros(0))
    return Deposits(
        np.concatenate([part.event for part in parts]),
        np.concatenate([part.position for part in parts]),
        np.concatenate([part.mev for part in parts]),
        np.concatenate([part.electrons for part in parts]),
    )


@dataclass(frozen=True)
class Vertices:
    """Where events are, (events,) each: ``tick`` and ``wire`` at which their electrons arrive (both
    with fractions; wire w reaches from w to w + 1), ``x_cm`` and ``y_cm`` in the argon."""

    tick: np.ndarray
    wire: np.ndarray
    x_cm: np.ndarray
    y_cm: np.ndarray


def draw_vertices(
    rng: np.random.Generator, events: int, ticks: float, config: LartpcConfig
) -> Vertices:
    """Everywhere alike, arriving at tick 0 to ``ticks``."""
    return Vertices(
        rng.uniform(0, ticks, events),
        rng.uniform(0, config.wires, events),
        rng.uniform(0, config.drift_cm, events),
        rng.uniform(0, config.height_cm, events),
    )


@dataclass(frozen=True)
class Arrivals:
    """Deposits at the wires, (n,) each: ``event``, ``tick``, ``wire``, ``drift_us``, ``mev``,
    ``electrons`` before attachment."""

    event: np.ndarray
    tick: np.ndarray
    wire: np.ndarray
    drift_us: np.ndarray
    mev: np.ndarray
    electrons: np.ndarray

    def select(self, where: np.ndarray) -> Arrivals:
        """Those at a mask or index."""
        return Arrivals(*(getattr(self, field.name)[where] for field in fields(self)))


def drift(deposits: Deposits, vertices: Vertices, config: LartpcConfig) -> Arrivals:
    """When and where deposits arrive; those outside the argon above the plane are left out."""
    event = deposits.event
    x = vertices.x_cm[event] + deposits.position[:, 0]
    y = vertices.y_cm[event] + deposits.position[:, 1]
    wire = vertices.wire[event] + deposits.position[:, 2] / config.pitch_cm
    tick = vertices.tick[event] + deposits.position[:, 0] / config.tick_cm
    inside = (x >= 0) & (x < config.drift_cm) & (y >= 0) & (y < config.height_cm)
    inside &= (wire >= 0) & (wire < config.wires)
    return Arrivals(
        event[inside],
        tick[inside],
        wire[inside],
        x[inside] / config.drift_cm_us,
        deposits.mev[inside],
        deposits.electrons[inside],
    )


def add_signal(
    canvas: np.ndarray, frame: np.ndarray, arrivals: Arrivals, span: int, config: LartpcConfig
) -> None:
    """Add what arrives to ``canvas`` float32 (frames * span, wires), in counts.

    ``frame`` (n,) is the frame of each arrival, and its ``tick`` counts from the frame's start. A
    frame takes nothing from beyond its ``span`` ticks but what reaches into them: a kernel that
    starts before it, or ends behind it, is cut.
    """
    near = arrivals.tick > -response.KERNEL_TICKS - _DIFFUSED_TICKS
    near &= arrivals.tick < span + response.BEFORE + _DIFFUSED_TICKS
    if not near.any():
        return
    cells, electrons = _charges(frame[near], arrivals.select(near), span, config)
    cell, impact, sub = _split(cells, config)
    pulses = response.kernels(config)[impact, sub] * electrons[:, None, None].astype(np.float32)
    at_frame, rest = np.divmod(cell, _reach(span) * config.wires)
    at_tick, wire = np.divmod(rest, config.wires)
    tick = at_tick - response.KERNEL_TICKS - response.BEFORE
    first = (at_frame * span + tick) * config.wires + wire

    # where a pulse starts in the canvas, and from there its wires and ticks
    side = np.arange(-response.SIDE, response.SIDE + 1)[:, None]
    steps = np.arange(response.KERNEL_TICKS)
    offsets = side + steps * config.wires
    inside = (tick >= 0) & (tick + response.KERNEL_TICKS <= span)
    inside &= (wire >= response.SIDE) & (wire < config.wires - response.SIDE)
    flat = canvas.reshape(-1)
    for some in np.array_split(np.nonzero(inside)[0], 1 + inside.sum() // _PULSES_AT_ONCE):
        where = first[some, None, None] + offsets
        np.add.at(flat, where.ravel(), pulses[some].ravel())  # quick in one dimension only
    edge = np.nonzero(~inside)[0]
    for some in np.array_split(edge, 1 + len(edge) // _PULSES_AT_ONCE):
        ticks = tick[some, None, None] + steps
        wires = wire[some, None, None] + side
        good = (ticks >= 0) & (ticks < span) & (wires >= 0) & (wires < config.wires)
        where = np.where(good, first[some, None, None] + offsets, 0)
        np.add.at(flat, where.ravel(), np.where(good, pulses[some], np.float32(0)).ravel())


def _reach(span: int) -> int:
    """Ticks from which something reaches into a frame."""
    return response.KERNEL_TICKS + span + response.BEFORE


def _charges(
    frame: np.ndarray, arrivals: Arrivals, span: int, config: LartpcConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Diffused charges in cells of a frame, a step in a tick, a wire and a step in its pitch: the
    number of each cell that holds some, and its electrons."""
    left = arrivals.electrons * np.exp(-arrivals.drift_us / config.lifetime_us)
    spread = np.sqrt(2 * arrivals.drift_us * 1e-6)
    long = np.sqrt(config.diffusion_l_cm2_s) * spread / config.tick_cm
    wide = np.sqrt(config.diffusion_t_cm2_s) * spread / config.pitch_cm
    tick = arrivals.tick[:, None] + long[:, None] * _POINTS
    wire = arrivals.wire[:, None] + wide[:, None] * _POINTS
    share = left[:, None, None] * _WEIGHTS[:, None] * _WEIGHTS
    early = response.KERNEL_TICKS
    t = np.floor((tick + early) * response.SUBTICKS).astype(np.int64)[:, :, None]
    w = np.floor(wire * response.IMPACTS).astype(np.int64)[:, None, :]
    reach = _reach(span)
    good = (t >= 0) & (t < reach * response.SUBTICKS)
    good = good & (w >= 0) & (w < config.wires * response.IMPACTS)
    key = (frame[:, None, None] * reach * response.SUBTICKS + t) * config.wires * response.IMPACTS
    key = (key + w)[good]
    cells, where = np.unique(key, return_inverse=True)
    return cells, np.bincount(where, share[good], len(cells))


def _split(cells: np.ndarray, config: LartpcConfig) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Number of the cell without its steps (frame, tick, wire), step in the pitch and the tick."""
    rest, w = np.divmod(cells, config.wires * response.IMPACTS)
    wire, impact = np.divmod(w, response.IMPACTS)
    tick, sub = np.divmod(rest, response.SUBTICKS)
    return tick * config.wires + wire, impact, sub
