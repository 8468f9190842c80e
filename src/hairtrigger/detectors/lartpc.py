"""Simulated images of a liquid-argon collection plane: noise, radiologicals, neutrinos, and truth.

    made = simulate(200, seed=1, kind="nue_cc")
    made.images                     # uint16 (200, 64, 480): tick-major, as data arrive
    made.truth["visible_mev"]

The physics is in lartpc_config.py and the modules that it names, and told in
docs/detectors/lartpc.md. lartpc_stream.py makes a continuous stream instead of images.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from hairtrigger.detectors import lartpc_events
from hairtrigger.detectors.checks import processors, whole
from hairtrigger.detectors.lartpc_blocks import (
    BLOCK_TICKS,
    background,
    digitise,
    events_rng,
)
from hairtrigger.detectors.lartpc_config import CLASSES, TICKS, LartpcConfig
from hairtrigger.detectors.lartpc_deposits import Arrivals, add_signal, draw_vertices, drift
from hairtrigger.errors import InputError

SIMULATION_VERSION = 1
"""Counts up whenever the same seed and configuration give other images."""

BLOCK_IMAGES = BLOCK_TICKS // TICKS
"""Images made at once. Part of what a seed means: not a tuning knob."""

KINDS = (*CLASSES, "muon", "michel")
"""What `simulate` makes: the classes, and the two parts of "other" alone."""

TRUTH_DTYPE = np.dtype(
    [
        ("kind", "u1"),
        ("visible_mev", "<f4"),
        ("neutrino_mev", "<f4"),
        ("electron_mev", "<f4"),
        ("direction", "<f4", (3,)),
        ("neutrino_direction", "<f4", (3,)),
        ("n_radiological", "u1"),
        ("wire", "<f4"),
        ("tick", "<f4"),
    ]
)
"""One row an image. ``kind``: index in CLASSES; ``visible_mev``: energy that the event deposited in
what this image sees; ``neutrino_mev``, ``electron_mev`` (kinetic, of the primary or Michel
electron; 0: none); ``direction`` of the electron, of the muon where there is none, and
``neutrino_direction``, unit vectors (x away from the wires, y along, z across them);
``n_radiological``: decays that arrive in the image; ``wire`` and ``tick`` in the image of the
centre of the deposited energy (0 where nothing is visible)."""


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
    """Simulate ``images`` images of one kind, from number ``start`` of the series of ``seed``.

    Noise images are consecutive pieces of one stream. Images of another kind have the same noise
    and radiologicals, and one event each, whose vertex is anywhere in the image: what lies beyond
    the image's border is not seen, nor does it show in the next image. The same seed, kind and
    configuration give the same series, however it is cut into calls and whatever the number of
    ``threads`` (by default one a processor).

    Raises InputError for negative numbers, an unknown kind and a configuration of another type.
    """
    images, start = whole("images", images, 0), whole("start", start, 0)
    seed = whole("seed", seed, 0)
    config = checked(config)
    threads = processors() if threads is None else whole("threads", threads, 1)
    if kind not in KINDS:
        raise InputError(f"kind = {kind!r} is unknown", f"give one of {', '.join(KINDS)}")
    try:
        out = np.empty((images, TICKS, config.wires), np.uint16)
        truth = np.empty(images, TRUTH_DTYPE)
    except (MemoryError, ValueError) as error:
        raise InputError(
            f"{images} images do not fit in memory", "simulate fewer at a time, with start"
        ) from error

    def fill(block: int) -> None:
        first = block * BLOCK_IMAGES
        cut = slice(max(start - first, 0), min(start + images - first, BLOCK_IMAGES))
        to = slice(first + cut.start - start, first + cut.stop - start)
        made, told = _block(block, seed, kind, config)
        out[to], truth[to] = made[cut], told[cut]

    if images:
        last = (start + images - 1) // BLOCK_IMAGES
        run(fill, range(start // BLOCK_IMAGES, last + 1), threads)
    return LartpcImages(out, truth, config, seed)


def simulate_given(
    events: lartpc_events.Events,
    *,
    seed: int,
    config: LartpcConfig | None = None,
    kind: str = "nue_cc",
    threads: int | None = None,
) -> LartpcImages:
    """Images of given events, one each, as `simulate` makes them: of a file of MARLEY, say.

    ``kind``: the class that the truth names. Raises InputError as `simulate` does.
    """
    seed, config = whole("seed", seed, 0), checked(config)
    threads = processors() if threads is None else whole("threads", threads, 1)
    if kind not in CLASSES:
        raise InputError(f"kind = {kind!r} is no class", f"give one of {', '.join(CLASSES)}")
    n = len(events.neutrino_mev)
    out = np.empty((n, TICKS, config.wires), np.uint16)
    truth = np.empty(n, TRUTH_DTYPE)

    def fill(block: int) -> None:
        part = slice(block * BLOCK_IMAGES, min((block + 1) * BLOCK_IMAGES, n))
        chosen = lartpc_events.take(events, part)
        canvas, told = _start(block, seed, kind, config)
        rng = events_rng(seed, block, KINDS.index(kind))
        _put(canvas, told, chosen, rng, config)
        counts = digitise(canvas, block * BLOCK_TICKS, config)
        out[part] = counts.reshape(BLOCK_IMAGES, TICKS, -1)[: part.stop - part.start]
        truth[part] = told[: part.stop - part.start]

    run(fill, range(-(-n // BLOCK_IMAGES)), threads)
    return LartpcImages(out, truth, config, seed)


def _block(block: int, seed: int, kind: str, config: LartpcConfig) -> tuple[np.ndarray, np.ndarray]:
    """The images and the truth of one block."""
    canvas, truth = _start(block, seed, kind, config)
    if kind != "noise":
        rng = events_rng(seed, block, KINDS.index(kind))
        events = lartpc_events.draw(kind, rng, BLOCK_IMAGES, config)
        _put(canvas, truth, events, rng, config)
    counts = digitise(canvas, block * BLOCK_TICKS, config)
    return counts.reshape(BLOCK_IMAGES, TICKS, config.wires), truth


def _start(block: int, seed: int, kind: str, config: LartpcConfig) -> tuple[np.ndarray, np.ndarray]:
    """Noise and radiologicals of a block before digitisation, and its truth so far."""
    canvas, found = background(block, seed, config)
    truth = np.zeros(BLOCK_IMAGES, TRUTH_DTYPE)
    image = (found.decays.vertices.tick // TICKS).astype(np.int64)
    counted = np.bincount(np.minimum(image, BLOCK_IMAGES - 1), minlength=BLOCK_IMAGES)
    truth["n_radiological"] = np.minimum(counted, 255)
    truth["kind"] = CLASSES.index("other" if kind in ("muon", "michel") else kind)
    return canvas, truth


def _put(
    canvas: np.ndarray,
    truth: np.ndarray,
    events: lartpc_events.Events,
    rng: np.random.Generator,
    config: LartpcConfig,
) -> None:
    """One event into each image, from the first on, each at a place of its own."""
    n = len(events.neutrino_mev)
    vertices = draw_vertices(rng, n, TICKS, config)
    arrivals = drift(events.deposits, vertices, config)
    add_signal(canvas, arrivals.event, arrivals, TICKS, config)
    for field in ("neutrino_mev", "electron_mev", "direction", "neutrino_direction"):
        truth[field][:n] = getattr(events, field)
    _tell_visible(truth, arrivals)


def _tell_visible(truth: np.ndarray, arrivals: Arrivals) -> None:
    seen = (arrivals.tick >= 0) & (arrivals.tick < TICKS)
    event, mev = arrivals.event[seen], arrivals.mev[seen]
    visible = np.bincount(event, mev, len(truth))
    truth["visible_mev"] = visible
    for field in ("tick", "wire"):
        moment = np.bincount(event, mev * getattr(arrivals, field)[seen], len(truth))
        truth[field] = moment / np.maximum(visible, 1e-12)


def checked(config: LartpcConfig | None) -> LartpcConfig:
    """The configuration, or the default. Raises InputError for another type."""
    config = LartpcConfig() if config is None else config
    if not isinstance(config, LartpcConfig):
        raise InputError(f"config is a {type(config).__name__}, not a LartpcConfig", "give one")
    return config


def run(work: Callable[[int], None], items: range, threads: int) -> None:
    """Do the work in threads (NumPy lets them run side by side); stop at once on an interrupt."""
    if threads == 1 or len(items) <= 1:
        for item in items:
            work(item)
        return
    pool = ThreadPoolExecutor(min(threads, len(items)), thread_name_prefix="lartpc")
    try:
        for _ in pool.map(work, items):
            pass
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
