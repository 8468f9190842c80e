"""Muons of the RPC sector: the truth that is drawn, the way through the sector, strips that fire.

Everything works on flat arrays with one entry per muon; no loop runs over events.
"""

from dataclasses import dataclass

import numpy as np

from hairtrigger.detectors.rpc_config import MAX_MUONS, RpcConfig

GEV_PER_TESLA_METRE = 0.299792458
"""p [GeV] = 0.2998 B [T] R [m] for unit charge."""

SCATTERING_GEV = 0.0136
"""theta0 = 13.6 MeV / p sqrt(x/X0): multiple scattering (PDG) without its logarithm."""

MIN_COSINE = 0.1
"""Tracks more than 84 degrees off the radial direction are lost: they never leave the sector."""


@dataclass(frozen=True)
class Muons:
    """Flat arrays over the muons of a block, events in order and within an event leading first."""

    event: np.ndarray
    slot: np.ndarray
    pt: np.ndarray
    eta: np.ndarray
    phi: np.ndarray
    charge: np.ndarray


def draw_muons(rng: np.random.Generator, events: int, config: RpcConfig) -> Muons:
    """Draw the muons of ``events`` events: their number, then pT, eta, phi and charge of each."""
    shares = np.cumsum(config.muon_weights)
    counts = np.searchsorted(shares[:-1], rng.random(events), side="right")
    present = np.arange(MAX_MUONS) < counts[:, None]
    event, slot = np.nonzero(present)

    # The muons of an event are alike but for their order, so sorting pT alone orders them.
    by_rank = np.zeros((events, MAX_MUONS), np.float32)
    by_rank[present] = _draw_pt(rng, event.size, config)
    by_rank.sort(axis=1)
    pt = by_rank[:, ::-1][present]

    eta = rng.uniform(*config.eta_range, event.size).astype(np.float32)
    phi = rng.uniform(*config.phi_range_rad, event.size).astype(np.float32)
    charge = (2 * rng.integers(0, 2, event.size, np.int8) - 1).astype(np.int8)
    if config.close_by_share:
        near = (slot > 0) & (rng.random(events) < config.close_by_share)[event]
        leading = np.flatnonzero(near) - slot[near]
        eta[near] = _beside(rng, eta[leading], config.close_by_eta, config.eta_range)
        phi[near] = _beside(rng, phi[leading], config.close_by_phi_rad, config.phi_range_rad)
    return Muons(event, slot, pt, eta, phi, charge)


def _beside(
    rng: np.random.Generator, centre: np.ndarray, opening: float, limits: tuple[float, float]
) -> np.ndarray:
    """Places up to ``opening`` from each ``centre``, uniform; folded back at the limits.

    Folding cannot lead away from a centre inside the limits, so all stay within the opening.
    """
    low, high = limits
    place = centre + opening * rng.uniform(-1, 1, centre.size).astype(np.float32)
    place = np.where(place < low, 2 * low - place, place)
    place = np.where(place > high, 2 * high - place, place)
    return np.clip(place, low, high).astype(np.float32)


def _draw_pt(rng: np.random.Generator, size: int, config: RpcConfig) -> np.ndarray:
    """Inverse of the cumulative distribution of pT**-power between the ends of the range."""
    low, high = config.pt_range_gev
    share = rng.random(size)
    rank = 1.0 - config.pt_power
    if abs(rank) < 1e-9:
        return low * (high / low) ** share
    # The range is scaled to end at 1, so that steep powers do not overflow.
    start = (low / high) ** rank
    return high * (start + share * (1.0 - start)) ** (1.0 / rank)


def crossings(rng: np.random.Generator, muons: Muons, config: RpcConfig) -> np.ndarray:
    """Where each muon crosses each layer, in strips: float32 (muons, layers), NaN where never.

    A straight line from a vertex spread along z; energy loss and multiple scattering in the
    calorimeter, a thick scatterer; then, in the plane of r and z, a circle in the uniform field of
    the toroid. psi is the angle to the radial direction, tan(psi) = dz/dr. In a uniform field
    d(sin psi)/dr = 0.3 q B / p, which makes both sin psi and z exact functions of r. A positive
    charge bends to larger eta.
    """
    size = muons.pt.size
    normal = rng.standard_normal((4, size), np.float32)
    slope, stretch = np.sinh(muons.eta), np.cosh(muons.eta)

    momentum = muons.pt * stretch
    loss = config.energy_loss_gev + config.energy_loss_spread_gev * normal[0]
    left = momentum - np.maximum(loss, 0) * stretch
    alive = left >= config.stop_momentum_gev
    left = np.maximum(left, config.stop_momentum_gev)

    # A thick scatterer in which p falls linearly: 1/p^2 averages to 1/(p_in p_out). The shift and
    # the angle are correlated as in the PDG review (passage of particles through matter).
    inner, outer = config.calorimeter_radii_m
    width = np.sqrt(config.radiation_lengths * stretch / (momentum * left)) * SCATTERING_GEV
    kick = width * normal[1]
    shift = width * (outer - inner) * stretch * (normal[2] / np.sqrt(12, dtype=np.float32))
    shift += kick * (outer - inner) * stretch / 2
    psi = np.arctan(slope) + kick
    z_out = config.vertex_sigma_m * normal[3] + outer * slope + shift * stretch

    field_in, field_out = config.field_radii_m
    tesla = config.bending_power_tm(muons.eta) / ((field_out - field_in) * stretch)
    curvature = muons.charge.astype(np.float32) * GEV_PER_TESLA_METRE * tesla / left

    radius = np.array(config.layer_radii_m, np.float32)
    inside = np.clip(radius, field_in, field_out) - np.float32(field_in)
    before = np.minimum(radius, np.float32(field_in)) - np.float32(outer)
    behind = np.maximum(radius - np.float32(field_out), 0)
    sine_in, cosine_in = np.sin(psi)[:, None], np.cos(psi)[:, None]
    alive &= cosine_in[:, 0] > MIN_COSINE
    cosine_in = np.maximum(cosine_in, MIN_COSINE)
    sine = sine_in + curvature[:, None] * inside
    square = 1 - sine * sine
    reached = alive[:, None] & (square > MIN_COSINE**2)
    cosine = np.sqrt(np.maximum(square, MIN_COSINE**2))

    z = z_out[:, None] + before * (sine_in / cosine_in)
    z += inside * (sine_in + sine) / (cosine_in + cosine)
    if behind.any():
        z += behind * (sine / cosine)
    low, high = config.strip_eta
    strip = (np.arcsinh(z / radius) - low) * (config.strips / (high - low))
    return np.where(reached, strip, np.nan).astype(np.float32, copy=False)


def fire_strips(
    rng: np.random.Generator, muons: Muons, strip: np.ndarray, config: RpcConfig
) -> tuple[np.ndarray, np.ndarray]:
    """The strips that muons fire, and in how many layers each muon was seen.

    ``strip`` is what ``crossings`` gave. Returns flat indices into an image array of shape
    (events, layers, strips), some of them twice, and the number of layers, uint8 (muons,).

    A crossed layer fires with its efficiency. Three strips fire with the triple probability; the
    neighbour nearer to the crossing fires too with twice the double probability times the distance
    from the middle of the strip in half pitches, which averages to the double probability.
    """
    efficiency = np.array(config.layer_efficiency, np.float32)
    fired = (strip >= 0) & (strip < config.strips)
    fired &= rng.random(strip.shape, np.float32) < efficiency
    seen = np.count_nonzero(fired, axis=1).astype(np.uint8)

    muon, layer = np.nonzero(fired)
    crossing = strip[muon, layer]
    centre = crossing.astype(np.int32)
    from_middle = 2 * (crossing - centre) - 1
    chance = rng.random(muon.size, np.float32)
    triple = chance < config.triple_probability
    reach = config.triple_probability + 2 * config.double_probability * np.abs(from_middle)
    double = (chance < reach) & ~triple
    upper = (triple | (double & (from_middle > 0))) & (centre < config.strips - 1)
    lower = (triple | (double & (from_middle <= 0))) & (centre > 0)

    flat = (muons.event[muon] * config.layers + layer) * config.strips + centre
    return np.concatenate([flat, flat[upper] + 1, flat[lower] - 1]), seen
