"""The front of the supernova chain on isolated images, by compiled C++."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hairtrigger.cpp.library import Library, compile_graph
from hairtrigger.graph.ops import State
from hairtrigger.graph.passes import optimise
from hairtrigger.graph.steps import reset_registers
from hairtrigger.studies.supernova_front import FrontConfig, image_parts, pixels_for
from hairtrigger.studies.supernova_front_graph import front_graph


def front_fast(
    images: NDArray[np.integer[Any]],
    config: FrontConfig | None = None,
    pedestal: ArrayLike | None = None,
) -> NDArray[np.uint8]:
    """What `hairtrigger.studies.supernova_front.front` gives, many times as fast.

    The first call with a ``config`` compiles, or finds what was compiled before. Raises what
    `front` and `hairtrigger.cpp.library.compile_graph` do.
    """
    config = config or FrontConfig()
    pixels = pixels_for(images, config)
    library = _compiled(config)
    places = [library.graph.nodes[n].op for n, _ in library.graph.updates]
    first = [isinstance(op, State) and op.name == "pedestal" for op in places].index(True)
    rows = slice(config.block[0] - 1, None, config.block[0])
    for part, samples, pedestals in image_parts(images, config, pedestal):
        state = list(reset_registers(library.graph))
        state[first] = pedestals.astype(np.int64)
        outs, _ = library.streams_from([samples], tuple(state), ends=False)
        pixels[part] = outs[0][:, rows]
    return pixels


@lru_cache(maxsize=8)
def _compiled(config: FrontConfig) -> Library:
    return compile_graph(optimise(front_graph(config)))
