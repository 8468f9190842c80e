"""Background of the RPC sector: clusters of adjacent strips, uniform over layers and strips."""

import numpy as np

from hairtrigger.detectors.rpc_config import RpcConfig


def draw_noise(
    rng: np.random.Generator, events: int, config: RpcConfig
) -> tuple[np.ndarray, np.ndarray]:
    """The strips that background fires in ``events`` images, and each image's number of clusters.

    Returns flat indices into an image array of shape (events, layers, strips), some of them twice,
    and the number of clusters, uint16 (events,).

    The rate counts clusters: each is one particle, whose size is drawn apart. The number in the
    whole block is one Poisson number and each cluster falls on any strip of the block alike, which
    is the same as one Poisson number per strip. A cluster that reaches over the edge is cut there.
    """
    image = config.layers * config.strips
    total = rng.poisson(config.noise_clusters_per_strip * image * events)
    place = rng.integers(0, events * image, total, np.int64 if events * image >> 31 else np.int32)
    clusters = np.bincount(place // image, minlength=events).astype(np.uint16)

    # Places are independent of sizes, so the first clusters may be the largest ones.
    of_size = rng.multinomial(total, config.noise_size_probabilities)
    at_least = np.cumsum(of_size[::-1])[::-1]
    strip = place % config.strips
    parts = []
    for step, count in enumerate(at_least):
        offset = (step + 1) // 2 if step % 2 else -(step // 2)
        inside = strip[:count] + offset
        kept = (inside >= 0) & (inside < config.strips)
        parts.append(place[:count][kept] + offset)
    return np.concatenate(parts), clusters
