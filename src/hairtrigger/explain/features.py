"""Numbers that a physicist would look at in an event, for surrogates of a study's network."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.errors import InputError
from hairtrigger.studies.muon_networks import bend_shape, station_rows

BENDS = tuple(range(-66, 67, 3))
"""Bends [strips from first to last station] of the paths that are tried."""
HALF_WIDTH = 3
"""Strips to each side of a path that belong to it."""
_CHUNK = 1024

Features = tuple[NDArray[np.float64], tuple[str, ...]]


def muon_features(images: NDArray[Any], config: Any) -> Features:
    """Features (events, features) of images (events, rows, strips), and their names.

    The path along which most layers fired is found among straight lines with a bend (as strips from
    first to last station, in the shape of `bend_shape`). Of it: ``layers``, how many rows fired
    within `HALF_WIDTH` strips; ``bend``, ``strip`` (at the first station); of each station the mean
    strip of the hits near the path, less that of the first (``x1`` to ``x3``; where none fired, the
    path itself), and how many of its rows fired there (``n0`` to ``n3``); ``sagitta``: x3 - 2 x2 +
    x1; ``hits``: strips that fired in the whole image. Raises `InputError` for another shape.
    """
    if images.ndim != 3 or images.shape[1:] != (config.rows, config.strips):
        raise InputError(
            f"Images of shape {images.shape} are not (events, {config.rows}, {config.strips}).",
            "Give unpacked images of this detector.",
        )
    parts = [
        _of_chunk(images[start : start + _CHUNK], config) for start in range(0, len(images), _CHUNK)
    ]
    stations = len(station_rows(config))
    names = ["layers", "bend", "strip", *(f"x{n}" for n in range(1, stations))]
    names += [*(f"n{n}" for n in range(stations)), "sagitta", "hits"]
    empty = np.zeros((0, len(names)))
    return np.concatenate(parts) if parts else empty, tuple(names)


def _of_chunk(images: NDArray[Any], config: Any) -> NDArray[np.float64]:
    hits = images > 0
    rows = list(station_rows(config).values())
    # Rows that fired within reach of each strip, a station at a time.
    near = np.stack(
        [_widened(hits[:, a : a + n]).sum(axis=1, dtype=np.uint8) for a, n in rows], axis=1
    )
    path = bend_shape(config)
    best = np.full(len(images), -1)
    bend, strip = np.zeros(len(images), dtype=int), np.zeros(len(images), dtype=int)
    # The smallest bend first, so that of equal paths the straightest is taken.
    for tried in sorted(BENDS, key=abs):
        offsets = np.rint(tried * path).astype(int)
        found = sum(_shifted(near[:, n], offset) for n, offset in enumerate(offsets))
        place = np.argmax(found, axis=1)
        layers = np.take_along_axis(found, place[:, None], axis=1)[:, 0]
        better = layers > best
        best = np.where(better, layers, best)
        bend, strip = np.where(better, tried, bend), np.where(better, place, strip)
    at = np.arange(config.strips)
    columns = [best, bend, strip]
    means, counts = [], []
    for n, (first, count) in enumerate(rows):
        centre = strip + np.rint(bend * path[n]).astype(int)
        inside = np.abs(at - centre[:, None]) <= HALF_WIDTH
        seen = hits[:, first : first + count] & inside[:, None]
        total = seen.sum(axis=(1, 2))
        mean = (seen * at).sum(axis=(1, 2)) / np.maximum(total, 1)
        means.append(np.where(total > 0, mean, centre))
        counts.append(seen.any(axis=2).sum(axis=1))
    sagitta = means[-1] - 2 * means[-2] + means[-3]
    columns += [*(mean - means[0] for mean in means[1:]), *counts, sagitta, hits.sum(axis=(1, 2))]
    return np.stack(columns, axis=1).astype(np.float64)


def _widened(hits: NDArray[np.bool_]) -> NDArray[np.bool_]:
    wide = hits.copy()
    for step in range(1, HALF_WIDTH + 1):
        wide[..., step:] |= hits[..., :-step]
        wide[..., :-step] |= hits[..., step:]
    return wide


def _shifted(near: NDArray[Any], offset: int) -> NDArray[Any]:
    """What lies ``offset`` strips further up; nothing beyond the end."""
    if offset == 0:
        return near
    moved = np.zeros_like(near)
    if offset > 0:
        moved[:, :-offset] = near[:, offset:]
    else:
        moved[:, -offset:] = near[:, :offset]
    return moved


def strips_features(given: NDArray[Any]) -> Features:
    """Features (n, features) of windows of a strip detector, `detector_input` of
    `hairtrigger.studies.strips_front`, and their names.

    Lengths in strips from the middle of the window: ``first``, ``last`` strip with a hit,
    ``centroid`` and ``width`` (standard deviation) by charge; ``strips`` with a hit, their
    ``charge`` in 64 counts; ``time``: mean by charge, ``earliest``, ``latest``, in shares of the
    range; ``slope``: of the time along the strips, by charge; ``nominal``: tangent of the angle
    that the place suggests; ``drift``: time less that of the middle of the drift, times that
    tangent, which is how far a track has moved the centroid. Raises `InputError` for another shape.
    """
    from hairtrigger.studies.strips_front import MIDDLE, TANGENT_STEP, TANGENT_ZERO
    from hairtrigger.studies.strips_samples import FEATURES, WIDTH

    if given.ndim != 2 or given.shape[1] != FEATURES:
        raise InputError(
            f"Windows of shape {given.shape} are not (n, {FEATURES}).", "Give detector_input()."
        )
    charge = given[:, :WIDTH].astype(np.float64)
    time = given[:, WIDTH : 2 * WIDTH].astype(np.float64)
    nominal = (256 * given[:, -1].astype(np.float64) - TANGENT_ZERO) * TANGENT_STEP
    place = np.arange(WIDTH) - (WIDTH - 1) / 2
    hit = charge > 0
    total = charge.sum(axis=1)
    weight = charge / np.maximum(total, 1e-12)[:, None]
    centroid = weight @ place
    away = place - centroid[:, None]
    width = np.sqrt((weight * away**2).sum(axis=1))
    mean = (weight * time).sum(axis=1)
    slope = (weight * away * (time - mean[:, None])).sum(axis=1) / np.maximum(width**2, 1e-12)
    some = hit.any(axis=1)
    first = np.where(some, place[hit.argmax(axis=1)], 0.0)
    last = np.where(some, place[WIDTH - 1 - hit[:, ::-1].argmax(axis=1)], 0.0)
    earliest = np.where(some, np.where(hit, time, np.inf).min(axis=1, initial=np.inf), 0.0)
    columns = {
        "first": first,
        "last": last,
        "centroid": centroid,
        "width": width,
        "strips": hit.sum(axis=1),
        "charge": total,
        "time": mean,
        "earliest": earliest,
        "latest": np.where(hit, time, 0.0).max(axis=1),
        "slope": np.where(width > 0, slope, 0.0),
        "nominal": nominal,
        "drift": (mean - MIDDLE) * nominal,
    }
    return np.stack(list(columns.values()), axis=1), tuple(columns)
