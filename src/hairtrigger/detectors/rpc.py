"""Simulated images of an ATLAS RPC barrel sector: 0 to 3 muons and background, and the truth.

    events = simulate(200_000, seed=1)
    images = events.unpacked()          # uint8 (200000, 9, 384)
    pt = events.truth["pt"][:, 0]       # of the leading muon, GeV; 0 without muon

The physics is in rpc_config.py, rpc_muons.py and rpc_noise.py, and told in docs/detectors/rpc.md.
"""

import dataclasses
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hairtrigger.detectors import store as event_store
from hairtrigger.detectors.checks import processors, whole
from hairtrigger.detectors.rpc_config import BITS_PER_BYTE, MAX_MUONS, RpcConfig, muon_weights
from hairtrigger.detectors.rpc_muons import crossings, draw_muons, fire_strips
from hairtrigger.detectors.rpc_noise import draw_noise
from hairtrigger.errors import InputError, StorageError

SIMULATION_VERSION = 1
"""Counts up whenever the same seed and configuration give other events."""

BLOCK_EVENTS = 2048
"""Events drawn from one stream of random numbers. Part of what a seed means: not a tuning knob."""

STORE_KIND = "rpc"

TRUTH_DTYPE = np.dtype(
    [
        ("pt", "<f4", (MAX_MUONS,)),
        ("eta", "<f4", (MAX_MUONS,)),
        ("phi", "<f4", (MAX_MUONS,)),
        ("charge", "i1", (MAX_MUONS,)),
        ("layers_hit", "u1", (MAX_MUONS,)),
        ("n_muons", "u1"),
        ("n_hits", "<u2"),
        ("n_noise_hits", "<u2"),
        ("n_noise_clusters", "<u2"),
    ]
)
"""One row per event. Of up to three muons, leading first: ``pt`` [GeV] at the vertex, ``eta``,
``phi`` [rad, from the middle of the sector], ``charge`` (-1 or 1) and ``layers_hit``, the layers
that fired; 0 for a muon that is not there. ``n_muons``, seen or not. ``n_hits`` and
``n_noise_hits``, strips of the image fired by muons and by background (a strip fired by both
counts in both); ``n_noise_clusters``, background particles."""


@dataclass(frozen=True)
class RpcEvents:
    """Simulated events: packed images, their truth, and what made them.

    ``images``: uint8 (events, rows, strips / 8), 8 strips a byte, the lowest strip the highest bit.
    ``truth``: structured array (events,) of TRUTH_DTYPE. ``signal``: the same images without
    background, or None where they were not asked for.
    """

    images: np.ndarray
    truth: np.ndarray
    config: RpcConfig
    seed: int
    signal: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.images)

    def unpacked(self, where: slice | np.ndarray | None = None) -> np.ndarray:
        """Images as uint8 (events, rows, strips), of all events or as ``select`` picks them."""
        images = self.images if where is None else self.images[_as_index(where, len(self))]
        return unpack(images)

    def select(self, where: slice | np.ndarray) -> "RpcEvents":
        """The events at ``where``: a slice, a mask (events,) or an array of indices.

        Raises InputError for a mask of another length or an index out of range.
        """
        where = _as_index(where, len(self))
        signal = None if self.signal is None else self.signal[where]
        return dataclasses.replace(
            self, images=self.images[where], truth=self.truth[where], signal=signal
        )

    def targets(self) -> np.ndarray:
        """What a network learns, float32 (events, 4): pT, eta, charge of the leading muon, n_muons.

        All are 0 in an image without muons.
        """
        leading = [self.truth[name][:, 0] for name in ("pt", "eta", "charge")]
        return np.stack([*leading, self.truth["n_muons"]], axis=1).astype(np.float32)

    def batches(self, size: int, *, seed: int | None = None) -> Iterator["RpcEvents"]:
        """All events in batches of ``size``, the last maybe smaller, shuffled if ``seed`` is given.

        Raises InputError for a size below 1.
        """
        size = whole("size", size, 1)
        order = np.arange(len(self))
        if seed is not None:
            np.random.default_rng(seed).shuffle(order)
        for start in range(0, len(self), size):
            yield self.select(order[start : start + size])


def unpack(images: np.ndarray) -> np.ndarray:
    """Packed images uint8 (..., strips / 8) as uint8 (..., strips) of 0 and 1.

    Raises InputError for anything but a uint8 array with at least one axis.
    """
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim < 1:
        found = getattr(images, "dtype", type(images).__name__)
        raise InputError(
            f"packed images are {found}, not a uint8 array",
            "give the images of RpcEvents, or pack yours with numpy.packbits(..., axis=-1)",
        )
    return np.unpackbits(images, axis=-1)


def simulate(
    events: int,
    *,
    seed: int,
    config: RpcConfig | None = None,
    muons: int | tuple[float, ...] | None = None,
    with_signal: bool = False,
    start: int = 0,
    threads: int | None = None,
) -> RpcEvents:
    """Simulate ``events`` images, the ones from number ``start`` of the endless series of ``seed``.

    The same seed and configuration give the same series, however it is cut into calls and whatever
    the number of threads. ``muons`` is the number of muons in every image (0 to 3), or weights for
    0, 1, 2 and 3 muons, and replaces ``config.muon_weights``. ``with_signal`` keeps the images
    without background as well. ``threads`` is by default one per processor.

    Raises InputError for negative numbers, and for a configuration that cannot be.
    """
    events, start = whole("events", events, 0), whole("start", start, 0)
    seed = whole("seed", seed, 0)
    config = _resolve(config, muons)
    if threads is None:
        threads = processors()
    threads = whole("threads", threads, 1)

    try:
        images = np.empty((events, config.rows, config.strips // BITS_PER_BYTE), np.uint8)
        truth = np.empty(events, TRUTH_DTYPE)
        signal = np.empty_like(images) if with_signal else None
    except (MemoryError, ValueError) as error:
        raise InputError(
            f"{events} events do not fit in memory", "simulate them with simulate_to_store"
        ) from error

    def fill(block: int) -> None:
        first = block * BLOCK_EVENTS
        cut = slice(max(start - first, 0), min(start + events - first, BLOCK_EVENTS))
        to = slice(first + cut.start - start, first + cut.stop - start)
        block_images, block_signal, block_truth = _simulate_block(block, seed, config)
        images[to], truth[to] = block_images[cut], block_truth[cut]
        if signal is not None:
            signal[to] = block_signal[cut]

    if events:
        last = (start + events - 1) // BLOCK_EVENTS
        _run(fill, range(start // BLOCK_EVENTS, last + 1), threads)
    return RpcEvents(images, truth, config, seed, signal)


def _simulate_block(
    block: int, seed: int, config: RpcConfig
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The images, the images without background and the truth of one block of events."""
    rng = np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed, spawn_key=(block,))))
    muons = draw_muons(rng, BLOCK_EVENTS, config)
    muon_strips, seen = fire_strips(rng, muons, crossings(rng, muons, config), config)
    noise_strips, clusters = draw_noise(rng, BLOCK_EVENTS, config)

    canvas = np.zeros(BLOCK_EVENTS * config.layers * config.strips, np.uint8)
    signal = _pack(canvas, muon_strips, config)
    canvas[muon_strips] = 0
    noise = _pack(canvas, noise_strips, config)

    truth = np.zeros(BLOCK_EVENTS, TRUTH_DTYPE)
    where = (muons.event, muons.slot)
    for name in ("pt", "eta", "phi", "charge"):
        truth[name][where] = getattr(muons, name)
    truth["layers_hit"][where] = seen
    truth["n_muons"] = np.count_nonzero(truth["charge"], axis=1)
    truth["n_hits"] = _count_bits(signal)
    truth["n_noise_hits"] = _count_bits(noise)
    truth["n_noise_clusters"] = clusters
    return signal | noise, signal, truth


def _pack(canvas: np.ndarray, strips: np.ndarray, config: RpcConfig) -> np.ndarray:
    """Set ``strips`` of the flat canvas and pack it, layers of a station joined where asked."""
    canvas[strips] = 1
    packed = np.packbits(canvas).reshape(BLOCK_EVENTS, config.layers, -1)
    if config.rows == config.layers:
        return packed
    stations = np.repeat(np.arange(config.rows), config.station_layers)
    joined = np.zeros((BLOCK_EVENTS, config.rows, packed.shape[2]), np.uint8)
    for layer, station in enumerate(stations):
        joined[:, station] |= packed[:, layer]
    return joined


def _count_bits(packed: np.ndarray) -> np.ndarray:
    return np.bitwise_count(packed.reshape(len(packed), -1)).sum(axis=1, dtype=np.uint16)


def _run(work: Callable[[int], None], items: range, threads: int) -> None:
    """Do the work in threads (NumPy lets them run side by side); stop at once on an interrupt."""
    if threads == 1 or len(items) <= 1:
        for item in items:
            work(item)
        return
    pool = ThreadPoolExecutor(min(threads, len(items)), thread_name_prefix="rpc")
    try:
        for _ in pool.map(work, items):
            pass
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def simulate_to_store(
    path: str | Path,
    events: int,
    *,
    seed: int,
    config: RpcConfig | None = None,
    muons: int | tuple[float, ...] | None = None,
    with_signal: bool = False,
    chunk: int = 16 * BLOCK_EVENTS,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> event_store.EventStore:
    """Simulate into a store at ``path``, ``chunk`` events at a time; go on where a run stopped.

    Arguments as for ``simulate``. ``progress(done, events)`` is called at the start and after each
    chunk. Memory is bounded by the chunk. A store that is complete is returned at once.

    Raises StorageError for a path that holds something else (another seed, configuration, version,
    or no store at all) and when writing fails; what is finished then stays valid.
    """
    events, seed = whole("events", events, 0), whole("seed", seed, 0)
    chunk = whole("chunk", chunk, 1)
    config = _resolve(config, muons)
    image_shape = (config.rows, config.strips // BITS_PER_BYTE)
    arrays = {"images": event_store.ArraySpec(image_shape, "uint8")}
    if with_signal:
        arrays["signal"] = event_store.ArraySpec(image_shape, "uint8")
    for name in TRUTH_DTYPE.names or ():
        field = TRUTH_DTYPE[name]
        arrays[f"truth_{name}"] = event_store.ArraySpec(field.shape, field.base.name)

    def produce(start: int, stop: int) -> dict[str, np.ndarray]:
        part = simulate(
            stop - start,
            seed=seed,
            config=config,
            with_signal=with_signal,
            start=start,
            threads=threads,
        )
        made = {f"truth_{name}": part.truth[name] for name in TRUTH_DTYPE.names or ()}
        made["images"] = part.images
        if part.signal is not None:
            made["signal"] = part.signal
        return made

    metadata = {
        "simulation_version": SIMULATION_VERSION,
        "seed": seed,
        "config": _recorded(config),
    }
    opened = event_store.create_or_resume(
        path, kind=STORE_KIND, events=events, arrays=arrays, metadata=metadata, chunk=chunk
    )
    event_store.fill(opened, produce, progress)
    return opened


def read_events(
    source: str | Path | event_store.EventStore, start: int = 0, stop: int | None = None
) -> RpcEvents:
    """The events from ``start`` to ``stop`` (all by default) of a store, checked as they are read.

    Raises StorageError for a store that is incomplete, damaged or not of RPC images, InputError for
    a range outside the store.
    """
    opened = source
    if not isinstance(opened, event_store.EventStore):
        opened = event_store.open_store(opened)
    if opened.kind != STORE_KIND:
        raise StorageError(
            f"{opened.path} holds {opened.kind!r} events, not {STORE_KIND!r}",
            "open it with the module of its detector",
        )
    arrays = opened.read(start, stop)
    truth = np.empty(len(arrays["images"]), TRUTH_DTYPE)
    for name in TRUTH_DTYPE.names or ():
        truth[name] = arrays[f"truth_{name}"]
    config = RpcConfig(**opened.metadata["config"])
    return RpcEvents(arrays["images"], truth, config, opened.metadata["seed"], arrays.get("signal"))


def _resolve(config: RpcConfig | None, muons: int | tuple[float, ...] | None) -> RpcConfig:
    """The configuration with the number of muons written in, so that it tells the whole story."""
    config = RpcConfig() if config is None else config
    if not isinstance(config, RpcConfig):
        raise InputError(f"config is a {type(config).__name__}, not an RpcConfig", "give one")
    return (
        config if muons is None else dataclasses.replace(config, muon_weights=muon_weights(muons))
    )


LATER_OPTIONS = ("close_by_share", "close_by_eta", "close_by_phi_rad")
"""Left out of a store's metadata where they are off: stores older than these options stay valid."""


def _recorded(config: RpcConfig) -> dict[str, object]:
    values = dataclasses.asdict(config)
    if not config.close_by_share:
        for name in LATER_OPTIONS:
            del values[name]
    return values


def _as_index(where: slice | np.ndarray, events: int) -> slice | np.ndarray:
    if isinstance(where, slice):
        return where
    index = np.asarray(where)
    if index.size == 0 and index.dtype.kind != "b":
        return np.empty(0, np.intp)
    if index.ndim != 1 or index.dtype.kind not in "biu":
        raise InputError(
            f"a selection of {index.ndim} axes and type {index.dtype} picks no events",
            "give a slice, a mask (events,) or an array of indices",
        )
    if index.dtype.kind == "b" and index.size != events:
        raise InputError(
            f"a mask of {index.size} events cannot select among {events}",
            "make the mask from the truth of these events",
        )
    if index.dtype.kind != "b" and not (-events <= index.min() and index.max() < events):
        raise InputError(
            f"indices from {index.min()} to {index.max()} reach outside the {events} events",
            "keep indices below the number of events",
        )
    return index
