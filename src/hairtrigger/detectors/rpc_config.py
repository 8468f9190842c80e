"""The parameters of the simulated RPC sector, in physical units, and the rules they obey."""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np

from hairtrigger.errors import InputError

MAX_MUONS = 3
BITS_PER_BYTE = 8


@dataclass(frozen=True)
class RpcConfig:
    """One half (eta >= 0) of an ATLAS RPC barrel sector, as a toy.

    The image has ``rows`` rows of ``strips`` strips. With as many rows as layers, each row is one
    layer; with as many rows as stations, each row is the OR of the layers of one station (BI, BM1,
    BM2, BO). A strip covers the same step in eta in every layer, so that the strip index is
    eta-projective: a straight track from the origin has the same index in all rows.

    Where a value comes from is told in docs/detectors/rpc.md. Impossible values raise InputError.
    """

    # The image
    rows: int = 9
    strips: int = 384
    strip_eta: tuple[float, float] = (0.0, 1.05)
    layer_radii_m: tuple[float, ...] = (4.60, 4.62, 4.64, 6.80, 6.82, 7.50, 7.52, 9.80, 9.82)
    station_layers: tuple[int, ...] = (3, 2, 2, 2)

    # The muons: dN/dpT is proportional to pT**-pt_power, so 0 is flat
    muon_weights: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)
    pt_range_gev: tuple[float, float] = (3.0, 30.0)
    pt_power: float = 0.0
    eta_range: tuple[float, float] = (0.0, 1.05)
    phi_range_rad: tuple[float, float] = (-math.pi / 16, math.pi / 16)
    vertex_sigma_m: float = 0.05
    # In this share of the images with 2 or 3 muons all of them fly near the leading one: up to
    # that much from it in eta and in phi, either way
    close_by_share: float = 0.0
    close_by_eta: float = 0.05
    close_by_phi_rad: float = 0.05

    # The calorimeter in front of the BI layers, at normal incidence
    calorimeter_radii_m: tuple[float, float] = (1.5, 4.2)
    radiation_lengths: float = 100.0
    energy_loss_gev: float = 3.0
    energy_loss_spread_gev: float = 0.3
    stop_momentum_gev: float = 0.5

    # The toroid: integral of B dl from ``bending_tm[0]`` at eta 0 to ``bending_tm[1]`` beyond
    # |eta| of about ``bending_eta``
    field_radii_m: tuple[float, float] = (4.7, 10.05)
    bending_tm: tuple[float, float] = (2.5, 5.5)
    bending_eta: float = 0.35

    # The chambers: efficiency for all layers or one for each; how often 2 and 3 strips fire
    efficiency: float | tuple[float, ...] = 0.95
    double_probability: float = 0.40
    triple_probability: float = 0.05

    # The background: clusters (one particle each) per area and time, and their sizes 1, 2, 3, ...
    noise_rate_hz_cm2: float = 150.0
    strip_pitch_cm: float = 3.0
    strip_length_cm: float = 300.0
    window_ns: float = 25.0
    noise_size_weights: tuple[float, ...] = (0.45, 0.27, 0.15, 0.07, 0.04, 0.02)

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, _plain(field.name, getattr(self, field.name)))
        object.__setattr__(self, "muon_weights", muon_weights(self.muon_weights))
        _check_image(self)
        _check_muons(self)
        _check_passage(self)
        _check_chambers(self)

    @property
    def layers(self) -> int:
        """How many RPC layers the track crosses; at least ``rows``."""
        return len(self.layer_radii_m)

    @property
    def layer_efficiency(self) -> tuple[float, ...]:
        """The probability that a layer fires when a muon crosses it, one per layer."""
        if isinstance(self.efficiency, tuple):
            return self.efficiency
        return (self.efficiency,) * self.layers

    @property
    def noise_clusters_per_strip(self) -> float:
        """The mean number of noise clusters that start on one strip in one image: rate, area, time.

        150 Hz/cm2 on a strip of 3 cm x 300 cm in 25 ns give 0.0034.
        """
        area = self.strip_pitch_cm * self.strip_length_cm
        return self.noise_rate_hz_cm2 * area * self.window_ns * 1e-9

    @property
    def noise_size_probabilities(self) -> tuple[float, ...]:
        """``noise_size_weights`` normalised: the probability of 1, 2, 3, ... strips."""
        total = math.fsum(self.noise_size_weights)
        return tuple(weight / total for weight in self.noise_size_weights)

    def bending_power_tm(self, eta: np.ndarray) -> np.ndarray:
        """Integral of B dl in tesla metre along a straight track at ``eta`` (any shape)."""
        low, high = self.bending_tm
        return low + (high - low) * -np.expm1(-((eta / self.bending_eta) ** 2))


def _plain(name: str, value: object) -> object:
    """Plain Python numbers and tuples, so that equal configurations compare and print equal."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return tuple(_plain(name, item) for item in value)
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise InputError(f"{name} = {value!r} is not a number", f"give {name} as a number")
    if not math.isfinite(value):
        raise InputError(f"{name} = {value!r} is not finite", f"give {name} a finite value")
    return int(value) if isinstance(value, int | np.integer) else float(value)


def _require(config: RpcConfig, name: str, rule: str, obeys: Callable[[float], bool]) -> None:
    value = getattr(config, name)
    for number in value if isinstance(value, tuple) else (value,):
        if not obeys(number):
            raise InputError(f"{name} = {value!r}, but it must be {rule}", f"set {name} {rule}")


def _require_tuple(config: RpcConfig, name: str, lengths: range, rule: str) -> None:
    value = getattr(config, name)
    if not isinstance(value, tuple) or len(value) not in lengths:
        raise InputError(f"{name} = {value!r}, but it must hold {rule}", f"give {name} {rule}")


def _require_scalar(config: RpcConfig, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if isinstance(value, tuple):
            raise InputError(f"{name} = {value!r} is a sequence", f"give {name} as one number")


def _require_interval(config: RpcConfig, name: str) -> None:
    _require_tuple(config, name, range(2, 3), "two values, the lower end first")
    low, high = getattr(config, name)
    if not low < high:
        raise InputError(
            f"{name} = {(low, high)!r} is empty or reversed", f"give {name} the lower end first"
        )


def _check_image(config: RpcConfig) -> None:
    _require_scalar(config, "rows", "strips")
    _require_tuple(config, "layer_radii_m", range(1, 256), "at least one radius")
    _require_tuple(config, "station_layers", range(1, 256), "at least one station")
    _require(config, "layer_radii_m", "greater than 0", lambda radius: radius > 0)
    for name in ("rows", "station_layers"):
        _require(config, name, "whole and at least 1", _whole_positive)
    _require_interval(config, "strip_eta")
    if list(config.layer_radii_m) != sorted(set(config.layer_radii_m)):
        raise InputError(
            f"layer_radii_m = {config.layer_radii_m!r} does not increase",
            "list the layers from the inside out, each at its own radius",
        )
    if sum(config.station_layers) != config.layers:
        raise InputError(
            f"station_layers = {config.station_layers!r} adds up to {sum(config.station_layers)}, "
            f"but there are {config.layers} layers",
            "give the number of layers of each station, all layers counted once",
        )
    if config.rows not in (config.layers, len(config.station_layers)):
        raise InputError(
            f"rows = {config.rows!r}, but an image has a row per layer or a row per station",
            f"set rows to {config.layers} (layers) or {len(config.station_layers)} (stations)",
        )
    if not (_whole_positive(config.strips) and config.strips % BITS_PER_BYTE == 0):
        raise InputError(
            f"strips = {config.strips!r} is no positive multiple of 8, and strips are packed in "
            "bytes",
            "round strips up to a multiple of 8",
        )


def _check_muons(config: RpcConfig) -> None:
    _require_scalar(config, "pt_power", "vertex_sigma_m")
    for name in ("pt_range_gev", "eta_range", "phi_range_rad"):
        _require_interval(config, name)
    _require(config, "pt_range_gev", "greater than 0", lambda pt: pt > 0)
    _require(config, "eta_range", "between -5 and 5", lambda eta: abs(eta) <= 5)
    _require(config, "vertex_sigma_m", "0 or greater", _not_negative)
    _check_close_by(config)


def _check_close_by(config: RpcConfig) -> None:
    openings = {"close_by_eta": "eta_range", "close_by_phi_rad": "phi_range_rad"}
    _require_scalar(config, "close_by_share", *openings)
    _require(config, "close_by_share", "between 0 and 1", lambda value: 0 <= value <= 1)
    for name, limits in openings.items():
        _require(config, name, "0 or greater", _not_negative)
        low, high = getattr(config, limits)
        if config.close_by_share and getattr(config, name) > high - low:
            raise InputError(
                f"{name} = {getattr(config, name)!r} is more than all of {limits} = {(low, high)}",
                f"give {name} at most {high - low:.3g}, or leave close_by_share at 0",
            )


def _check_passage(config: RpcConfig) -> None:
    for name in ("calorimeter_radii_m", "field_radii_m"):
        _require_interval(config, name)
        _require(config, name, "0 or greater", _not_negative)
    _require_tuple(config, "bending_tm", range(2, 3), "two values, at eta 0 and at large eta")
    non_negative = ("radiation_lengths", "energy_loss_gev", "energy_loss_spread_gev")
    positive = ("stop_momentum_gev", "bending_eta")
    _require_scalar(config, *non_negative, *positive)
    for name in (*non_negative, "bending_tm"):
        _require(config, name, "0 or greater", _not_negative)
    for name in positive:
        _require(config, name, "greater than 0", lambda value: value > 0)
    first = min(config.layer_radii_m[0], config.field_radii_m[0])
    if config.calorimeter_radii_m[1] > first:
        raise InputError(
            f"calorimeter_radii_m = {config.calorimeter_radii_m!r} reaches beyond the first layer "
            f"or the field, at {first} m",
            f"end the calorimeter at {first} m or before",
        )


def _check_chambers(config: RpcConfig) -> None:
    _require(config, "efficiency", "between 0 and 1", lambda value: 0 <= value <= 1)
    if len(config.layer_efficiency) != config.layers:
        raise InputError(
            f"efficiency = {config.efficiency!r} has {len(config.layer_efficiency)} values for "
            f"{config.layers} layers",
            "give one efficiency, or one for each layer",
        )
    double, triple = "double_probability", "triple_probability"
    non_negative = (double, triple, "noise_rate_hz_cm2")
    positive = ("strip_pitch_cm", "strip_length_cm", "window_ns")
    _require_scalar(config, *non_negative, *positive)
    for name in non_negative:
        _require(config, name, "0 or greater", _not_negative)
    for name in positive:
        _require(config, name, "greater than 0", lambda value: value > 0)
    edge = config.triple_probability + 2 * config.double_probability
    if edge > 1:
        raise InputError(
            f"{triple} + 2 x {double} = {edge:.3g}, but at the edge of a strip that is a "
            "probability and at most 1",
            f"lower {double} to {(1 - config.triple_probability) / 2:.3g} or less",
        )
    if config.noise_clusters_per_strip > 1:
        raise InputError(
            f"noise_rate_hz_cm2 = {config.noise_rate_hz_cm2!r} puts "
            f"{config.noise_clusters_per_strip:.3g} clusters on each strip in each image: more "
            "than 1",
            "lower noise_rate_hz_cm2, strip_length_cm or window_ns",
        )
    _require_tuple(config, "noise_size_weights", range(1, config.strips + 1), "1 weight per size")
    _require(config, "noise_size_weights", "0 or greater", _not_negative)
    if math.fsum(config.noise_size_weights) <= 0:
        raise InputError("noise_size_weights are all 0", "give at least one size a weight")


def _not_negative(value: float) -> bool:
    return value >= 0


def _whole_positive(value: float) -> bool:
    return isinstance(value, int) and value >= 1


def muon_weights(muons: int | tuple[float, ...]) -> tuple[float, ...]:
    """The probabilities of 0, 1, 2 and 3 muons from a fixed number or from relative weights.

    Raises InputError for a number outside 0 to 3, for negative weights and for weights all 0.
    """
    way_out = "give a number from 0 to 3, or up to four weights for 0, 1, 2 and 3 muons"
    if isinstance(muons, int | np.integer) and not isinstance(muons, bool):
        if not 0 <= muons <= MAX_MUONS:
            raise InputError(f"muons = {muons!r} is outside 0 to {MAX_MUONS}", way_out)
        return tuple(float(count == muons) for count in range(MAX_MUONS + 1))
    if isinstance(muons, bool | str) or not hasattr(muons, "__len__"):
        raise InputError(f"muons = {muons!r} is neither a number nor weights", way_out)
    if not 1 <= len(muons) <= MAX_MUONS + 1:
        raise InputError(f"muons = {muons!r} has {len(muons)} weights", way_out)
    weights = [float(weight) for weight in muons]
    if not all(math.isfinite(weight) and weight >= 0 for weight in weights) or sum(weights) <= 0:
        raise InputError(f"muons = {muons!r} has weights that are no probabilities", way_out)
    weights += [0.0] * (MAX_MUONS + 1 - len(weights))
    total = math.fsum(weights)
    if abs(total - 1) < 1e-12:  # probabilities already: the same again, to the last bit
        return tuple(weights)
    return tuple(weight / total for weight in weights)
