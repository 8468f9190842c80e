"""Tracks of a chamber without a network: a search in roads, and a Hough transform.

Both look at the same hits as the networks do, (n, planes, strips) of 0 and 1, and try the same
straight lines: position x and slope dx/dz in the middle of the chamber, and the position y along
the strips, which only the planes turned by a stereo angle tell. Position and slope along the strips
change what a plane sees alike where all turned planes lie close together, so no slope dy/dz is
tried.

    roads   in how many planes is there a hit in a window around the line?
    Hough   each plane votes with the hit that lies nearest to the line, the more the nearer

The score of an image is that of its best line. Where several are best, their mean is the line; a
straight line through the hits near it (least squares) tells it more finely.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.detectors.strips_config import ChamberConfig
from hairtrigger.errors import InputError
from hairtrigger.studies.strips_tracks_metrics import Said, is_right
from hairtrigger.studies.supernova_metrics import cut_at

WORD = 64
"""Strips of a plane are the bits of one word."""
CELLS = 1 << 22
"""Numbers of (event, line) that are held at once."""


@dataclass(frozen=True)
class Layout:
    """Where the strips of each plane are: ``z_mm`` from the chamber's middle; ``stereo_deg`` by
    which its strips are turned; ``offsets_mm`` of the middle of its image, in its own coordinate;
    ``pitch_mm``; ``strips`` of an image.

    Turned by a, a plane at z measures u = cos(a) (x + slope z) + sin(a) y, and a line crosses it at
    the strip (u - offset) / pitch + (strips - 1) / 2.
    """

    z_mm: tuple[float, ...]
    stereo_deg: tuple[float, ...]
    offsets_mm: tuple[float, ...]
    pitch_mm: float
    strips: int

    def __post_init__(self) -> None:
        counts = {len(self.z_mm), len(self.stereo_deg), len(self.offsets_mm)}
        if len(counts) != 1 or not self.z_mm:
            raise InputError(
                f"{len(self.z_mm)} planes, {len(self.stereo_deg)} stereo angles and "
                f"{len(self.offsets_mm)} offsets.",
                "Give one of each for every plane.",
            )
        if not 1 <= self.strips <= WORD or not self.pitch_mm > 0:
            raise InputError(
                f"strips = {self.strips!r}, pitch_mm = {self.pitch_mm!r}.",
                f"Give 1 to {WORD} strips and a positive pitch.",
            )

    @property
    def planes(self) -> int:
        return len(self.z_mm)

    @property
    def design(self) -> NDArray[np.float64]:
        """What x [mm], slope and y [mm] each add to what a plane measures [mm] (planes, 3)."""
        turn = np.radians(self.stereo_deg)
        return np.stack([np.cos(turn), np.cos(turn) * self.z_mm, np.sin(turn)], axis=-1)

    def strip(self, lines: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where lines (..., 3) of x [mm], slope and y [mm] cross the planes, in strips (..., p)."""
        measured = lines @ self.design.T - np.asarray(self.offsets_mm)
        return measured / self.pitch_mm + (self.strips - 1) / 2


def layout_of(config: ChamberConfig) -> Layout:
    """The layout of a simulated chamber."""
    return Layout(
        tuple(z - config.middle_z_mm for z in config.z_mm),
        config.stereo_deg,
        config.offsets_mm,
        config.plane.pitch_mm,
        config.strips,
    )


@dataclass(frozen=True)
class Search:
    """Which lines are tried, and how far a hit may lie from one.

    ``x_steps`` positions within ``x_mm`` of the middle of the image, ``slope_steps`` slopes within
    ``slope_spread`` of ``slope``, ``y_steps`` positions along the strips within ``y_mm`` of 0, each
    in the middle of its step. ``half_strips``: half the window of a plane, to which comes what half
    a step of y moves a plane that is turned.
    """

    x_mm: float
    x_steps: int
    slope: float
    slope_spread: float
    slope_steps: int
    y_mm: float
    y_steps: int
    half_strips: float

    def __post_init__(self) -> None:
        steps = (self.x_steps, self.slope_steps, self.y_steps)
        if min(steps) < 1 or not self.half_strips >= 0:
            raise InputError(
                f"A search of {steps} steps and half a window of {self.half_strips!r} strips.",
                "Give 1 step or more of each, and half a window of 0 or more.",
            )

    def lines(self) -> NDArray[np.float64]:
        """All that are tried, (lines, 3) of x [mm], slope and y [mm]."""
        xs = _spread(self.x_mm, self.x_steps)
        slopes = self.slope + _spread(self.slope_spread, self.slope_steps)
        ys = _spread(self.y_mm, self.y_steps)
        return np.array(list(itertools.product(xs, slopes, ys)))

    def windows(self, layout: Layout) -> NDArray[np.float64]:
        """Half the window of each plane, in strips (planes,)."""
        step = 2 * self.y_mm / self.y_steps
        return self.half_strips + np.abs(layout.design[:, 2]) * step / 2 / layout.pitch_mm


def _spread(reach: float, steps: int) -> NDArray[np.float64]:
    """The middles of ``steps`` equal parts from -reach to reach."""
    return reach * ((2 * np.arange(steps) + 1) / steps - 1)


@dataclass(frozen=True)
class Found:
    """Of each image (n,): the ``score`` of the best line, and ``lines`` (n, 3) of it."""

    score: NDArray[np.float64]
    lines: NDArray[np.float64]


def words(hits: NDArray[Any], layout: Layout) -> NDArray[np.uint64]:
    """Hits (n, planes, strips) as one word a plane (n, planes): strip s is bit s.

    Raises `InputError` for another shape, or values other than 0 and 1.
    """
    hits = np.asarray(hits)
    if hits.ndim != 3 or hits.shape[1:] != (layout.planes, layout.strips):
        raise InputError(
            f"Hits of shape {hits.shape} are not (events, {layout.planes}, {layout.strips}).",
            "Give one image of 0 and 1 for each event.",
        )
    if hits.size and not np.isin(hits, (0, 1)).all():
        raise InputError("Hits hold values other than 0 and 1.", "Give hits > 0.")
    full = np.zeros((*hits.shape[:2], WORD), dtype=np.uint8)
    full[..., : layout.strips] = hits
    packed = np.packbits(full, axis=-1, bitorder="little")
    return packed.view("<u8")[..., 0].astype(np.uint64)


def search_roads(hits: NDArray[Any], layout: Layout, search: Search) -> Found:
    """The line with hits in the most planes: ``score`` counts them."""
    lines = search.lines()
    centres, half = layout.strip(lines), search.windows(layout)
    strips = np.arange(layout.strips)
    inside = np.abs(strips - centres[..., None]) <= half[:, None]  # lines, planes, strips
    masks = words(inside, layout)
    plane_words = words(hits, layout)

    def score(part: slice) -> NDArray[Any]:
        total = np.zeros((len(plane_words[part]), len(lines)), dtype=np.uint8)
        for p in range(layout.planes):
            total += (plane_words[part, p, None] & masks[:, p]) != 0
        return total

    return _best(score, len(plane_words), lines)


def vote_kernel(half: float) -> NDArray[np.float64]:
    """Votes of a hit 0, 1, 2 ... strips away from a line: a triangle that ends beyond ``half``."""
    return 1 - np.arange(int(half) + 1) / (half + 1)


def search_hough(hits: NDArray[Any], layout: Layout, search: Search) -> Found:
    """The line that gets the most votes: each plane votes with its hit nearest to the line."""
    lines = search.lines()
    # A line outside the image has no strip: one more, of no votes, stands for all of those.
    place = np.rint(layout.strip(lines)).astype(np.int64)
    outside = (place < 0) | (place >= layout.strips)
    place[outside] = layout.strips
    kernels = [vote_kernel(half) for half in search.windows(layout)]
    hits = np.asarray(hits)
    words(hits, layout)  # refuses what is no image

    def score(part: slice) -> NDArray[Any]:
        total = np.zeros((len(hits[part]), len(lines)), dtype=np.float32)
        for p, kernel in enumerate(kernels):
            total += votes(hits[part, p], kernel)[:, place[:, p]]
        return total

    return _best(score, len(hits), lines)


def votes(hits: NDArray[Any], kernel: NDArray[np.float64]) -> NDArray[np.float32]:
    """What one plane (n, strips) gives a line at each strip (n, strips + 1): that of its nearest
    hit; the last, for lines outside, is 0."""
    found = np.zeros((len(hits), hits.shape[1] + 1), dtype=np.float32)
    for distance, vote in enumerate(kernel.tolist()):
        for shift in {distance, -distance}:
            to = slice(max(shift, 0), hits.shape[1] + min(shift, 0))
            of = slice(max(-shift, 0), hits.shape[1] + min(-shift, 0))
            np.maximum(found[:, to], vote * hits[:, of], out=found[:, to])
    return found


def _best(score: Any, events: int, lines: NDArray[np.float64]) -> Found:
    """The best line of each event; the mean of all that are best."""
    step = max(1, CELLS // len(lines))
    scores, means = np.zeros(events), np.zeros((events, 3))
    for start in range(0, events, step):
        part = slice(start, min(start + step, events))
        found = score(part)
        top = found.max(axis=1)
        best = (found >= top[:, None] - 1e-5).astype(np.float32)
        scores[part] = top
        means[part] = (best @ lines.astype(np.float32)) / best.sum(axis=1, keepdims=True)
    return Found(scores, means)


def fit_lines(
    hits: NDArray[Any], layout: Layout, search: Search, start: NDArray[np.float64], half: float
) -> NDArray[np.float64]:
    """Straight lines (n, 3) through the hits within ``half`` strips of the lines ``start`` (n, 3).

    Least squares of the mean strip of each plane, all planes alike. The start counts as one
    measurement more, as wide as the ranges of ``search``: so what no plane tells stays as it is.
    """
    crossing = layout.strip(start)
    strips = np.arange(layout.strips)
    near = (np.abs(strips - crossing[..., None]) <= half) & (np.asarray(hits) != 0)
    count = near.sum(axis=-1)
    mean = (near * strips).sum(axis=-1) / np.maximum(count, 1)
    residual = np.where(count > 0, (mean - crossing) * layout.pitch_mm, 0.0)
    used = (count > 0).astype(np.float64)
    normal = np.einsum("np,pi,pj->nij", used, layout.design, layout.design)
    widths = np.array([search.x_mm, search.slope_spread, search.y_mm])
    normal += np.diag((layout.pitch_mm / widths) ** 2)
    right = np.einsum("np,pi->ni", residual, layout.design)
    return start + np.linalg.solve(normal, right[..., None])[..., 0]


# --- as methods ----------------------------------------------------------------------------------

METHODS = {"roads": search_roads, "Hough": search_hough}
FIT_STRIPS = 4.0
"""Hits within so many strips of the best line are fitted."""
HALVES, YS, STEPS = (1.5, 2.5, 3.5), (1, 5, 9), ((9, 3), (19, 5))
"""What is tried in tuning: half the window, steps of y, and steps of x and slope."""


@dataclass(frozen=True)
class Tuned:
    """The best of the searches tried: at a cut that ``fakes`` of the background pass, a share
    ``right`` of the muons is found at the right place. Measure both on other chambers."""

    name: str
    search: Search
    tried: int
    fakes: float
    right: float


@dataclass(frozen=True)
class Baselines:
    """All methods, tuned."""

    tuned: tuple[Tuned, ...]


def said_by(name: str, hits: NDArray[Any], layout: Layout, search: Search) -> Said:
    """What one of `METHODS` says of images (n, planes, strips): score, and a fitted line."""
    found = METHODS[name](hits, layout, search)
    lines = fit_lines(hits, layout, search, found.lines, FIT_STRIPS)
    return Said(found.score, lines[:, :2])


def searches(config: ChamberConfig) -> list[Search]:
    """Those that are tried, over the ranges in which the chamber's muons are."""
    return [
        Search(
            *(config.x_mm, xs, config.slope_x, config.slope_x_spread, slopes),
            *(config.y_mm, ys, half),
        )
        for half, ys, (xs, slopes) in itertools.product(HALVES, YS, STEPS)
    ]


def tune(
    name: str,
    config: ChamberConfig,
    noise: NDArray[Any],
    muons: NDArray[Any],
    truth: NDArray[Any],
    fake_rate: float,
) -> Tuned:
    """The search that finds most muons at the right place, each cut for the same ``fake_rate``.

    ``noise`` and ``muons``: images of chambers without a muon and with the one of ``truth``. Of
    searches that find as many, that with fewer lines. Raises as `cut_at` does.
    """
    layout, found = layout_of(config), []
    for search in searches(config):
        cut = cut_at(METHODS[name](noise, layout, search).score, fake_rate)
        said = said_by(name, muons, layout, search)
        right = float(np.mean((said.score >= cut.value) & is_right(said.lines, truth)))
        found.append((-right, len(search.lines()), len(found), search, cut.fakes.value))
    best = min(found)
    return Tuned(name, best[3], len(found), best[4], -best[0])
