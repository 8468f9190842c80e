"""Trigger primitives of a DUNE collection plane: the hits that its data acquisition finds.

Two finders, as DUNE's trigger primitive generation defines them (DUNE-DAQ/tpglibs, its naive
processors; DUNE/dunetrigger, its TPAlgTPC tools). With s a sample, d = s - pedestal:

- `Threshold`: d over a threshold.
- `AbsRunningSum` ("AbsRS"): v = RS - (pedestal of RS) over a threshold, where
  RS <- min(10 r [RS / 10] + 10 s [|d| / 10], 32767) and [x / 10] = ((3276 x >> 14) + 1) >> 1, the
  division that their vector instructions do. It is near RS <- r RS + s |d|.

Both pedestals are frugal (arXiv:1407.1121, as tpglibs has it): a counter goes up with each sample
above the pedestal and down with each below; past +-``limit`` the pedestal moves by one and the
counter is 0 again. The pedestal moves before it is subtracted. A hit is an unbroken time over
threshold (greater, not equal) on one wire.

    state = settle(AbsRunningSum(), noise)                      # (ticks, wires)
    hits = find_hits(images, AbsRunningSum(), state.rest())     # isolated images
    hits, stream = find_in_stream(block, finder, begin(state))  # a stream, block after block
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hairtrigger.errors import InputError

HIT = np.dtype(
    [
        ("image", np.int64),
        ("wire", np.int32),
        ("start", np.int64),
        ("length", np.int32),
        ("peak", np.int32),
        ("peak_tick", np.int64),
        ("sum", np.int64),
    ]
)
"""A hit: its ``image`` (0 in a stream), ``wire``, first tick, ticks over threshold, highest value
and its first tick, and the sum of the values over threshold [ADC, or ADC of the running sum]."""
ADC_LIMIT = 1 << 14
"""Samples are below: 14 bits."""
CHUNK = 64
"""Images at a time: their state stays in the second cache."""
SETTLE_TICKS = 512
"""Fewest ticks of noise to settle on: a running sum's pedestal climbs by one in 11 ticks."""


@dataclass(frozen=True)
class Threshold:
    """Samples more than ``threshold`` above a frugal pedestal whose counter runs to ``limit``."""

    threshold: int = 60
    limit: int = 10

    def __post_init__(self) -> None:
        _check_finder(self.threshold, self.limit)


@dataclass(frozen=True)
class AbsRunningSum:
    """Running sums more than ``threshold`` above their own frugal pedestal.

    ``memory`` (r) and ``scale`` (s) in tenths: 8 and 5 are R 0.8 and S 0.5.
    """

    threshold: int = 65
    limit: int = 10
    memory: int = 8
    scale: int = 5

    def __post_init__(self) -> None:
        _check_finder(self.threshold, self.limit)
        for name in ("memory", "scale"):
            value = getattr(self, name)
            if value not in range(1, 11):
                raise InputError(
                    f"{name} = {value!r} is no number of tenths.", "Give an integer from 1 to 10."
                )


Finder = Threshold | AbsRunningSum


def _check_finder(threshold: int, limit: int) -> None:
    if not 0 < threshold < ADC_LIMIT:
        raise InputError(
            f"threshold = {threshold!r} is no ADC count.", f"Give one from 1 to {ADC_LIMIT - 1}."
        )
    if not 1 <= limit <= 126:
        raise InputError(f"limit = {limit!r} fits no counter.", "Give one from 1 to 126.")


@dataclass(frozen=True)
class State:
    """What a finder remembers of each wire, arrays (wires,) or (images, wires).

    ``pedestal`` and its ``counter``; of a running sum its value, pedestal and counter as well.
    """

    pedestal: NDArray[np.int16]
    counter: NDArray[np.int8]
    sum: NDArray[np.int16]
    sum_pedestal: NDArray[np.int16]
    sum_counter: NDArray[np.int8]

    @classmethod
    def at(cls, pedestal: ArrayLike, sum_pedestal: ArrayLike = 0) -> State:
        """At rest on given pedestals [ADC], rounded; ``sum_pedestal`` is that of a running sum.

        Raises `InputError` for NaN or a value that is no 14-bit sample.
        """
        values = [np.asarray(x, np.float64) for x in (pedestal, sum_pedestal)]
        for name, value in zip(("pedestal", "sum_pedestal"), values, strict=True):
            if not ((value >= 0) & (value < ADC_LIMIT)).all():
                raise InputError(
                    f"{name} holds values that are no sample of 14 bits.",
                    f"Give pedestals from 0 to {ADC_LIMIT - 1}, in ADC counts.",
                )
        own, of_sum = (np.rint(x).astype(np.int16) for x in np.broadcast_arrays(*values))
        zeros = np.zeros(own.shape, np.int8)
        return cls(own, zeros, of_sum.copy(), of_sum, zeros)

    def rest(self) -> State:
        """The same pedestals with counters at 0 and the running sum on its pedestal.

        To begin isolated images with: what the last sample happened to be is forgotten.
        """
        zeros = np.zeros_like(self.counter)
        return replace(self, counter=zeros, sum=self.sum_pedestal, sum_counter=zeros)


def settle(finder: Finder, noise: ArrayLike) -> State:
    """The state after ``noise`` (ticks, wires), beginning at the median of each wire.

    Raises `InputError` for another shape or type, or fewer than `SETTLE_TICKS` ticks.
    """
    samples = _samples("noise", noise, 2)
    if len(samples) < SETTLE_TICKS:
        raise InputError(
            f"{len(samples)} ticks of noise are too few to settle on.",
            f"Give {SETTLE_TICKS} or more.",
        )
    walk = _Walk(finder, State.at(np.median(samples, axis=0)), samples.shape[1:])
    for sample in samples:
        walk.step(sample)
    return walk.state()


# --- isolated images -----------------------------------------------------------------------------


def find_hits(
    images: ArrayLike, finder: Finder, state: State, *, chunk: int = CHUNK
) -> NDArray[np.void]:
    """The hits (`HIT`) of isolated ``images``, uint16 (images, ticks, wires), by image and wire.

    Each image begins with ``state``, of arrays (wires,) or (images, wires). A hit that goes on at
    the end of an image ends there. Raises `InputError` for other shapes or types, or samples of
    more than 14 bits.
    """
    images = _samples("images", images, 3)
    n, _, wires = images.shape
    if state.pedestal.shape not in ((wires,), (n, wires)):
        raise InputError(
            f"A state of shape {state.pedestal.shape} is not of images of {wires} wires.",
            f"Give pedestals ({wires},) or ({n}, {wires}).",
        )
    if chunk < 1:
        raise InputError(f"chunk = {chunk!r} holds no image.", "Give 1 or more.")
    search = _find_few if isinstance(finder, Threshold) else _find_all
    found = [np.zeros(0, HIT)]
    for first in range(0, n, chunk):
        part = images[first : first + chunk]
        hits = search(part, finder, _of_images(state, first, len(part), wires))
        hits["image"] += first
        found.append(hits)
    return np.concatenate(found)


def _of_images(state: State, first: int, count: int, wires: int) -> State:
    """The state of some images, arrays (count, wires)."""

    def part(values: NDArray[Any]) -> NDArray[Any]:
        of = values[first : first + count] if values.ndim == 2 else values
        return np.broadcast_to(of, (count, wires))

    return State(*(part(getattr(state, name)) for name in State.__dataclass_fields__))


def _find_few(images: NDArray[np.int16], finder: Finder, state: State) -> NDArray[np.void]:
    """As `_find_all`, only on wires where a sample comes near the threshold.

    In ``ticks`` ticks a pedestal falls by no more than (ticks + |counter|) / (limit + 1): a lower
    sample is not over threshold. Of noise nearly all wires are left out.
    """
    ticks = images.shape[1]
    fall = (ticks + int(np.abs(state.counter).max(initial=0))) // (finder.limit + 1)
    high = images.max(axis=1)
    image, wire = np.nonzero(high - state.pedestal > finder.threshold - fall)
    if not image.size:
        return np.zeros(0, HIT)
    few = images[image, :, wire].T
    some = State(*(getattr(state, n)[image, wire] for n in State.__dataclass_fields__))
    hits = _hits(_Walk(finder, some, few.shape[1:]).over(few))
    lane = hits["wire"]
    hits["image"], hits["wire"] = image[lane], wire[lane]
    return hits


def _find_all(images: NDArray[np.int16], finder: Finder, state: State) -> NDArray[np.void]:
    ticks = images.swapaxes(0, 1)
    hits = _hits(_Walk(finder, state, ticks.shape[1:]).over(ticks))
    hits["image"], hits["wire"] = np.divmod(hits["wire"], images.shape[2])
    return hits


# --- a stream ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stream:
    """Where a stream stands: the ``state`` of its wires, the next ``tick``, and the hits that were
    still over threshold at the last one (``open``)."""

    state: State
    tick: int
    open: NDArray[np.void]


def begin(state: State, tick: int = 0) -> Stream:
    """A stream whose first sample is number ``tick``."""
    return Stream(state, tick, np.zeros(0, HIT))


def find_in_stream(
    block: ArrayLike, finder: Finder, stream: Stream
) -> tuple[NDArray[np.void], Stream]:
    """The hits that ended in ``block``, uint16 (ticks, wires), and the stream after it.

    Ticks count from the beginning of the stream, so the blocks may be cut anywhere. Raises
    `InputError` as `find_hits` does.
    """
    samples = _samples("block", block, 2)
    if stream.state.pedestal.shape != samples.shape[1:]:
        raise InputError(
            f"A block of {samples.shape[1]} wires does not go on with a stream of "
            f"{stream.state.pedestal.shape}.",
            "Give blocks of the same plane.",
        )
    walk = _Walk(finder, stream.state, samples.shape[1:])
    hits = _hits(walk.over(samples))
    hits["start"] += stream.tick
    hits["peak_tick"] += stream.tick
    end = stream.tick + len(samples)
    hits = _join(stream.open, hits, stream.tick)
    going = hits["start"] + hits["length"] == end
    return hits[~going], Stream(walk.state(), end, hits[going])


def finish(stream: Stream) -> NDArray[np.void]:
    """The hits that were open when a stream ended."""
    return stream.open


def into_images(hits: NDArray[np.void], ticks: int = 64) -> NDArray[np.void]:
    """Hits of a stream as those of images of ``ticks`` ticks, each in the image where it starts."""
    if ticks < 1:
        raise InputError(f"An image of {ticks!r} ticks holds nothing.", "Give 1 or more.")
    moved = hits.copy()
    moved["image"] = hits["start"] // ticks
    moved["start"] -= moved["image"] * ticks
    moved["peak_tick"] -= moved["image"] * ticks
    return moved[np.lexsort((moved["start"], moved["wire"], moved["image"]))]


def _join(open_: NDArray[np.void], hits: NDArray[np.void], tick: int) -> NDArray[np.void]:
    """Open hits with what follows of them; there is at most one of each on a wire."""
    first = np.flatnonzero(hits["start"] == tick)
    _, old, new = np.intersect1d(open_["wire"], hits["wire"][first], return_indices=True)
    new = first[new]
    joined = hits.copy()
    higher = open_["peak"][old] >= hits["peak"][new]
    joined["start"][new] = open_["start"][old]
    joined["length"][new] += open_["length"][old]
    joined["sum"][new] += open_["sum"][old]
    for name in ("peak", "peak_tick"):
        joined[name][new] = np.where(higher, open_[name][old], hits[name][new])
    every = np.concatenate([np.delete(open_, old), joined])
    return every[np.lexsort((every["start"], every["wire"]))]


# --- tick by tick --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Over:
    """Samples over threshold: number of the lane (of the flat array of wires), tick and value."""

    lane: NDArray[np.int64]
    tick: NDArray[np.int64]
    value: NDArray[np.int64]


class _Walk:
    """A finder at work on many wires at once, from its own copy of a state.

    Its work arrays are made once, since a step is short.
    """

    def __init__(self, finder: Finder, state: State, shape: tuple[int, ...]) -> None:
        def own(values: NDArray[Any]) -> NDArray[Any]:
            return np.array(np.broadcast_to(values, shape), order="C")

        self.finder = finder
        self.pedestal, self.counter = own(state.pedestal), own(state.counter)
        self.sum, self.sum_pedestal = own(state.sum), own(state.sum_pedestal)
        self.sum_counter = own(state.sum_counter)
        self.above = np.empty(shape, np.int16)
        self.part = np.empty(shape, np.uint16)
        self.flag, self.small = np.empty(shape, bool), np.empty(shape, np.int8)
        if isinstance(finder, AbsRunningSum):
            self.kept, self.added = _tables(finder.memory, finder.scale)

    def state(self) -> State:
        return State(self.pedestal, self.counter, self.sum, self.sum_pedestal, self.sum_counter)

    def over(self, samples: NDArray[np.int16]) -> _Over:
        """Walks ``samples`` (ticks, ...): what is over threshold."""
        lanes, ticks, values = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], []
        for tick, sample in enumerate(samples):
            value = self.step(sample)
            np.greater(value, self.finder.threshold, out=self.flag)
            lane = np.flatnonzero(self.flag)
            if lane.size:
                lanes.append(lane)
                ticks.append(np.full(lane.size, tick))
                values.append(value.reshape(-1)[lane])
        value = np.concatenate([np.zeros(0, np.int64), *values])
        return _Over(np.concatenate(lanes), np.concatenate(ticks), value)

    def step(self, sample: NDArray[np.int16]) -> NDArray[np.int16]:
        """One sample of every wire -> the values that the threshold is for, in a reused array."""
        np.subtract(sample, self.pedestal, out=self.above)
        self._follow(self.above, self.pedestal, self.counter)
        if isinstance(self.finder, Threshold):
            return self.above
        # Both terms are below 2^15, so uint16 holds their sum.
        np.take(self.added, self.above.view(np.uint16), out=self.part, mode="wrap")
        # take copies indices that are not intp first, so they may be its output as well.
        kept = self.sum.view(np.uint16)
        np.take(self.kept, kept, out=kept, mode="wrap")
        np.add(kept, self.part, out=kept)
        np.minimum(kept, np.uint16(32767), out=kept)
        np.subtract(self.sum, self.sum_pedestal, out=self.above)
        self._follow(self.above, self.sum_pedestal, self.sum_counter)
        return self.above

    def _follow(
        self, above: NDArray[np.int16], pedestal: NDArray[np.int16], counter: NDArray[np.int8]
    ) -> None:
        """The frugal pedestal: moves it and takes the move off ``above``, in place."""
        np.greater(above, 0, out=self.flag)
        np.add(counter, self.flag.view(np.int8), out=counter)
        np.less(above, 0, out=self.flag)
        np.subtract(counter, self.flag.view(np.int8), out=counter)
        np.absolute(counter, out=self.small)
        np.greater(self.small, self.finder.limit, out=self.flag)
        moved = np.flatnonzero(self.flag)
        flat = counter.reshape(-1)
        way = np.sign(flat[moved]).astype(np.int16)
        pedestal.reshape(-1)[moved] += way
        above.reshape(-1)[moved] -= way
        flat[moved] = 0


def _tables(memory: int, scale: int) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """What is kept of each running sum, and what each sample (as uint16) adds to it."""
    sums = np.arange(1 << 16)
    sizes = np.abs(sums.astype(np.uint16).view(np.int16).astype(np.int64))
    kept, added = (((3276 * x >> 14) + 1) >> 1 for x in (sums, sizes))
    return (memory * kept).astype(np.uint16), (scale * added).astype(np.uint16)


def _hits(over: _Over) -> NDArray[np.void]:
    """Unbroken runs of samples over threshold; ``wire`` is the lane."""
    order = np.lexsort((over.tick, over.lane))
    lane, tick, value = over.lane[order], over.tick[order], over.value[order].astype(np.int64)
    fresh = np.ones(lane.size, bool)
    fresh[1:] = (np.diff(lane) != 0) | (np.diff(tick) != 1)
    first = np.flatnonzero(fresh)
    hits = np.zeros(first.size, HIT)
    if not first.size:
        return hits
    run = np.cumsum(fresh) - 1
    peak = np.maximum.reduceat(value, first)
    at_peak = np.flatnonzero(value == peak[run])
    hits["wire"], hits["start"], hits["peak"] = lane[first], tick[first], peak
    hits["length"] = np.diff(np.append(first, lane.size))
    hits["peak_tick"] = tick[at_peak[np.searchsorted(run[at_peak], np.arange(first.size))]]
    hits["sum"] = np.add.reduceat(value, first)
    return hits


def _samples(name: str, values: ArrayLike, axes: int) -> NDArray[np.int16]:
    """Checked samples as int16. Nothing is copied."""
    array = np.asarray(values)
    if array.dtype != np.uint16 or array.ndim != axes:
        shape = "(images, ticks, wires)" if axes == 3 else "(ticks, wires)"
        raise InputError(
            f"{name} is {array.dtype} of shape {array.shape}, not uint16 {shape}.",
            "Give raw samples, tick after tick.",
        )
    if array.size and (high := int(array.max())) >= ADC_LIMIT:
        raise InputError(
            f"{name} holds a sample of {high}, more than 14 bits.",
            "Look for the reader that made it.",
        )
    return array.view(np.int16)
