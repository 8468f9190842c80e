"""Many planes at once, with Dask: each plane is a stream of its own, with its own folder.

Without an address the planes run in processes of this machine; with one, on the workers of a Dask
cluster, which must see the same folders. Needs Dask; with an address, dask.distributed.
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hairtrigger.errors import InputError, StorageError, ToolError
from hairtrigger.metrics import fraction
from hairtrigger.studies.supernova_trigger import Trigger, read_trigger

PLANE = "plane-{:03d}"
HOW_TO_GET = "pip install 'hairtrigger[dask]'"


def import_dask() -> Any:
    """Dask, or ToolError saying how to install it."""
    try:
        import dask
    except ImportError as error:
        raise ToolError(f"Dask cannot be imported: {error}", HOW_TO_GET) from error
    return dask


def run_planes(
    source: str,
    trigger: Trigger,
    out: Path,
    planes: int,
    *,
    workers: int | None = None,
    address: str | None = None,
    show: Callable[[int, Mapping[str, Any]], None] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Run `run_stream` for ``planes`` planes; the summary of all of them.

    ``source`` may hold ``{plane}``, which becomes the plane's number; ``simulate:`` makes every
    plane from seeds of its own. ``workers``: processes (None: one for each processor);
    ``address``: of a Dask scheduler instead; ``show`` is told how many planes are done, and the
    summary of the latest; ``options``: of `run_stream`. A folder that is there is gone on with.
    Raises ToolError without Dask, InputError, and the first error of a plane.
    """
    if planes < 1:
        raise InputError(f"{planes} planes.", "Give 1 or more.")
    if "{plane}" not in source and not source.startswith("simulate:"):
        raise InputError(
            f"{source!r} is one source for {planes} planes.",
            "Put {plane} where its number stands, or give simulate:",
        )
    dask = import_dask()
    from hairtrigger.stream.chain import compile_trigger

    folder = out / "trigger"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trigger.save(folder)
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {error.strerror}", "check it") from error
    compile_trigger(trigger)  # once, before all processes want it
    tasks = [
        dask.delayed(run_plane, pure=False)(
            source, str(folder), str(out), plane, options, dask_key_name=f"plane-{plane}"
        )
        for plane in range(planes)
    ]
    begin = time.perf_counter()
    if address is None:
        found = _local(dask, tasks, workers or os.cpu_count() or 1, show)
    else:
        found = _cluster(tasks, address, show)
    return joined(found, time.perf_counter() - begin)


def run_plane(
    source: str, folder: str, out: str, plane: int, options: Mapping[str, Any]
) -> dict[str, Any]:
    """One plane, in whatever process: its summary."""
    from hairtrigger.stream.run import run_stream

    done = run_stream(
        source.replace("{plane}", str(plane)),
        read_trigger(Path(folder)),
        Path(out) / PLANE.format(plane),
        plane=plane,
        **options,
    )
    return done.summary


def _local(
    dask: Any, tasks: Sequence[Any], workers: int, show: Callable[..., None] | None
) -> list[dict[str, Any]]:
    from dask.callbacks import Callback

    done = 0

    def told(key: Any, result: Any, *_: Any) -> None:
        nonlocal done
        if isinstance(result, dict) and "session" in result:
            done += 1
            if show is not None:
                show(done, result)

    with Callback(posttask=told):
        return list(dask.compute(*tasks, scheduler="processes", num_workers=workers, chunksize=1))


def _cluster(
    tasks: Sequence[Any], address: str, show: Callable[..., None] | None
) -> list[dict[str, Any]]:
    try:
        from dask.distributed import Client, as_completed
    except ImportError as error:
        raise ToolError(f"dask.distributed cannot be imported: {error}", HOW_TO_GET) from error
    try:
        client = Client(address, timeout="30s")
    except (OSError, ValueError) as error:
        raise ToolError(f"No Dask scheduler at {address}: {error}", "start it first") from error
    with client:
        futures = client.compute(list(tasks))
        for n, future in enumerate(as_completed(futures)):
            result = future.result()
            if show is not None:
                show(n + 1, result)
        return [future.result() for future in futures]


_SUMS = (
    *("images", "gated", "kept", "windows", "ticks", "lost_ticks", "missing_samples"),
    *("dropped_blocks", "dropped_ticks"),
)


def joined(found: Sequence[Mapping[str, Any]], seconds: float) -> dict[str, Any]:
    """The summaries of planes as one; ``seconds`` that all of them took."""
    whole: dict[str, Any] = {
        "planes": len(found),
        "trigger": found[0]["trigger"],
        "versions": found[0]["versions"],
        **{name: sum(one[name] for one in found) for name in _SUMS},
    }
    faults: dict[str, int] = {}
    events: dict[str, list[int]] = {}
    for one in found:
        for kind, count in one["faults"].items():
            faults[kind] = faults.get(kind, 0) + count
        for name, share in one["efficiency"].items():
            pair = events.setdefault(name, [0, 0])
            pair[0] += share["passed"]
            pair[1] += share["total"]
    shares = {name: fraction(*pair) for name, pair in events.items()}
    whole["faults"] = faults
    whole["efficiency"] = {
        name: {**dataclasses.asdict(share), "value": share.value} for name, share in shares.items()
    }
    whole["reduction"] = whole["images"] / (3 * whole["windows"]) if whole["windows"] else None
    images = sum(one["session"]["images"] for one in found)
    busy = sum(one["session"]["busy_seconds"] for one in found)
    whole["session"] = {
        "images": images,
        "seconds": seconds,
        "busy_seconds": busy,
        "images_per_second": images / seconds if seconds else None,
        "microseconds_an_image": 1e6 * busy / images if images else None,
    }
    whole["each"] = [json.loads(json.dumps(dict(one))) for one in found]
    return whole
