"""What a gaseous strip detector is: every number of the simulation, with its source.

In the comments, "Athena" is the digitisation of ATLAS's Micromegas (MM_Digitization of the public
software), "VMM" the VMM3a front-end chip, "assumed" common knowledge without a source at hand.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields

from hairtrigger.errors import InputError

PEAKING_NS = (25.0, 50.0, 100.0, 200.0)
"""Peaking times that the VMM can be set to."""

DIFFUSION_LAWS = ("root", "linear")
"""Width of a cloud with the root of the distance, as physics has it, or linear, as Athena has it:
both have the same width after 10 mm."""

PLANES = 8
"""Planes of a chamber."""

_ELEMENTARY_FC = 1.602176634e-4
"""Charge of an electron, fC."""

_POSITIVE = (
    *("gap_mm", "pitch_mm", "strip_length_mm", "drift_velocity_mm_ns", "interactions_mm"),
    *("work_ev", "density_g_cm3", "gain", "threshold_noises", "dead_ns", "gain_mv_fc"),
    *("adc_range_mv", "time_lsb_ns"),
)
_SHARES = ("neutron_share", "photon_fast_share", "sharing_nearest", "sharing_next")
_WHOLE = ("electrons_max", "adc_bits", "shaper_order")
_PAIRS = ("window_ns", "noise_e_range", "noise_length_range_mm", "photon_kev", "neutron_kev")
_SIGNED = ("field_t", "window_ns")


@dataclass(frozen=True)
class StripsConfig:
    """One plane of strips and what it sees.

    Raises InputError for a value that cannot be, named with its rule.
    """

    # Geometry (Athena). The length of strips near the beam, where the rate is (assumed)
    gap_mm: float = 5.04
    pitch_mm: float = 0.425
    strip_length_mm: float = 500.0

    # Ar/CO2 93:7 (Athena). The field is across drift and strips; 0.3 T is the most in the wheel
    drift_velocity_mm_ns: float = 0.047
    diffusion_t_mm_sqrt_cm: float = 0.36
    diffusion_l_mm_sqrt_cm: float = 0.19
    diffusion_law: str = "root"
    field_t: float = 0.0

    # Ionisation of a muon (Athena): interactions a mm of its path, their spread from step to step,
    # and the most electrons of one of them (Athena: 300). Energy of an electron, density (assumed)
    interactions_mm: float = 3.23
    interactions_spread_mm: float = 0.808
    electrons_max: int = 1000
    work_ev: float = 26.0
    density_g_cm3: float = 1.67e-3

    # Avalanche and resistive strips (Athena): mean gain, Polya's theta (0: exponential), charge of
    # a neighbour and of the next over that of the strip itself; the total is kept
    gain: float = 6000.0
    polya_theta: float = 1.765
    sharing_nearest: float = 0.3
    sharing_next: float = 0.09

    # VMM: peaking time, order n of a CR-RC^n shaper (assumed), 9 mV/fC over 1 V and 10 bits
    peaking_ns: float = 50.0
    shaper_order: int = 2
    gain_mv_fc: float = 9.0
    adc_range_mv: float = 1000.0
    adc_bits: int = 10
    time_lsb_ns: float = 1.0

    # Noise grows with the length of the strip, 1000 to 3000 e (Athena); which lengths (assumed).
    # Threshold in units of the noise; neighbours of a hit are read below it where asked
    noise_e_range: tuple[float, float] = (1000.0, 3000.0)
    noise_length_range_mm: tuple[float, float] = (350.0, 2000.0)
    threshold_noises: float = 7.0
    neighbours: bool = False

    # Times count from the muon's crossing; a strip is dead after the peak of a hit (Athena).
    # Spread of the crossing about the clock (assumed: length of a bunch)
    window_ns: tuple[float, float] = (-12.5, 187.5)
    dead_ns: float = 200.0
    t0_spread_ns: float = 0.2

    # Background that ionises this gap, and how it is made up (assumed but for the rate, which is
    # that of the hottest place): share of neutrons; of photons, those whose electron crosses the
    # gap; energies of the other electrons and of recoils, flat in their log; length of a recoil
    background_khz_cm2: float = 15.0
    neutron_share: float = 0.1
    photon_fast_share: float = 0.3
    photon_kev: tuple[float, float] = (2.0, 60.0)
    neutron_kev: tuple[float, float] = (5.0, 200.0)
    neutron_length_mm: float = 0.3

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            object.__setattr__(self, item.name, _plain(item.name, value))
        self._check_kinds()
        self._check_rules()

    def _check_kinds(self) -> None:
        for name in _WHOLE:
            if not isinstance(getattr(self, name), int):
                raise InputError(f"{name} = {getattr(self, name)!r}", f"give {name} as an integer")
        for name in _POSITIVE:
            if getattr(self, name) <= 0:
                raise InputError(f"{name} = {getattr(self, name)!r}", f"give {name} more than 0")
        for name in _SHARES:
            if getattr(self, name) > 1:
                raise InputError(f"{name} = {getattr(self, name)!r} is a share", "give at most 1")
        for name in _PAIRS:
            low, high = getattr(self, name)
            if not low < high and name != "noise_e_range":
                raise InputError(f"{name} = {(low, high)} is empty", "give the lower end first")
        for name in ("photon_kev", "neutron_kev"):
            if getattr(self, name)[0] <= 0:
                raise InputError(f"{name} = {getattr(self, name)}", "give energies above 0")

    def _check_rules(self) -> None:
        if self.diffusion_law not in DIFFUSION_LAWS:
            raise InputError(
                f"diffusion_law = {self.diffusion_law!r} is unknown",
                f"give one of {', '.join(DIFFUSION_LAWS)}",
            )
        if self.peaking_ns not in PEAKING_NS:
            raise InputError(
                f"peaking_ns = {self.peaking_ns} is no peaking time of the chip",
                f"give one of {', '.join(f'{time:g}' for time in PEAKING_NS)}",
            )
        if not 1 <= self.shaper_order <= 6:
            raise InputError(f"shaper_order = {self.shaper_order}", "give 1 to 6")
        if not 2 <= self.adc_bits <= 16:
            raise InputError(
                f"adc_bits = {self.adc_bits}, and charges are uint16", "give 2 to 16 bits"
            )
        if not 1 <= self.electrons_max <= 4000:
            raise InputError(
                f"electrons_max = {self.electrons_max}: beyond 4000 (100 keV) a delta ray leaves",
                "give 1 to 4000",
            )
        codes = (self.window_ns[1] - self.window_ns[0]) / self.time_lsb_ns
        if codes > 255:
            raise InputError(
                f"a window of {self.window_ns} ns has {codes:.0f} times of {self.time_lsb_ns} ns, "
                "and times are uint8",
                "give a longer time_lsb_ns or a shorter window",
            )
        if abs(self.field_t) > 0.5:
            raise InputError(
                f"field_t = {self.field_t}: the formula of the Lorentz angle holds to 0.5 T",
                "give -0.5 to 0.5",
            )

    @property
    def noise_e(self) -> float:
        """Noise of a strip of this length, electrons: linear between the ends of its range."""
        (low, high), (short, long) = self.noise_e_range, self.noise_length_range_mm
        share = (self.strip_length_mm - short) / (long - short)
        return low + (high - low) * min(max(share, 0.0), 1.0)

    @property
    def threshold_e(self) -> float:
        """Charge whose pulse, all at once, just reaches the threshold, electrons."""
        return self.threshold_noises * self.noise_e

    @property
    def counts_e(self) -> float:
        """ADC counts of an electron."""
        return (2**self.adc_bits - 1) * _ELEMENTARY_FC * self.gain_mv_fc / self.adc_range_mv

    @property
    def tan_lorentz(self) -> float:
        """Tangent of the Lorentz angle: Athena's polynomial in the field, degrees."""
        b = abs(self.field_t)
        degrees = 58.87 * b - 2.983 * b**2 - 10.62 * b**3 + 2.818 * b**4
        return math.copysign(math.tan(math.radians(degrees)), self.field_t)

    @property
    def full_drift_ns(self) -> float:
        """Time of the longest drift."""
        return self.gap_mm / self.drift_velocity_mm_ns


_ATLAS_Z_MM = (0.0, 16.9, 33.8, 50.7, 101.4, 118.3, 135.2, 152.1)


@dataclass(frozen=True)
class ChamberConfig:
    """Eight planes as ATLAS has them: two quadruplets, X X U V and U V X X.

    ``z_mm``: of the middle of each gap. ``stereo_deg``: turn of each plane's strips. ``drift``: 1
    where the distance from the strips grows with z, -1 where it falls (planes stand back to back).
    The image of a plane has ``strips`` strips about the nominal track, x = ``slope_x`` z: it is
    moved by whole strips, as a trigger's road is. Slopes spread uniformly by their spreads about
    (``slope_x``, 0), x and y at the middle plane over ``x_mm`` and ``y_mm`` to either side; those
    ranges keep tracks within an image of 64 strips (z, slopes and ranges are assumed).
    Raises InputError for a value that cannot be.
    """

    plane: StripsConfig = field(default_factory=StripsConfig)
    strips: int = 64
    z_mm: tuple[float, ...] = _ATLAS_Z_MM
    stereo_deg: tuple[float, ...] = (0.0, 0.0, 1.5, -1.5, 1.5, -1.5, 0.0, 0.0)
    drift: tuple[int, ...] = (1, -1, 1, -1, 1, -1, 1, -1)
    slope_x: float = 0.36
    slope_x_spread: float = 0.03
    slope_y_spread: float = 0.05
    x_mm: float = 4.0
    y_mm: float = 200.0

    def __post_init__(self) -> None:
        if not isinstance(self.plane, StripsConfig):
            raise InputError(f"plane is a {type(self.plane).__name__}", "give a StripsConfig")
        for name in ("z_mm", "stereo_deg", "drift"):
            value = getattr(self, name)
            if not isinstance(value, list | tuple) or len(value) != PLANES:
                raise InputError(f"{name} = {value!r}", f"give {PLANES} numbers, one a plane")
            numbers = tuple(_number(name, item, signed=True) for item in value)
            object.__setattr__(self, name, numbers)
        if not set(self.drift) <= {1, -1}:
            raise InputError(f"drift = {self.drift}", "give 1 or -1 for each plane")
        if list(self.z_mm) != sorted(set(self.z_mm)):
            raise InputError(f"z_mm = {self.z_mm} does not grow", "give planes in order of z")
        if max(abs(angle) for angle in self.stereo_deg) > 45:
            raise InputError(f"stereo_deg = {self.stereo_deg}", "give angles within 45 degrees")
        for name in ("slope_x", "slope_x_spread", "slope_y_spread", "x_mm", "y_mm"):
            number = _number(name, getattr(self, name), signed=name == "slope_x")
            object.__setattr__(self, name, number)
        if isinstance(self.strips, bool) or not isinstance(self.strips, int) or self.strips < 8:
            raise InputError(f"strips = {self.strips!r}", "give a whole number, 8 or more")

    @property
    def middle_z_mm(self) -> float:
        """z of the chamber's middle plane, where the truth gives x and y."""
        return 0.5 * (self.z_mm[0] + self.z_mm[-1])

    @property
    def offsets_mm(self) -> tuple[float, ...]:
        """Where the middle of each plane's image is, in the plane's own coordinate: whole strips
        from the nominal track's place at the middle plane."""
        pitch, middle = self.plane.pitch_mm, self.middle_z_mm
        return tuple(
            pitch * round(self.slope_x * (z - middle) * math.cos(math.radians(a)) / pitch)
            for z, a in zip(self.z_mm, self.stereo_deg, strict=True)
        )


def _plain(name: str, value: object) -> object:
    """Plain Python numbers, so that equal configurations are equal and hash alike."""
    if name == "diffusion_law":
        return value
    if name == "neighbours":
        if not isinstance(value, bool):
            raise InputError(f"neighbours = {value!r}", "give True or False")
        return value
    if name in _PAIRS:
        if not isinstance(value, list | tuple) or len(value) != 2:
            raise InputError(f"{name} = {value!r}", f"give {name} as two numbers")
        return tuple(_number(name, item, name in _SIGNED) for item in value)
    return _number(name, value, name in _SIGNED)


def _number(name: str, value: object, signed: bool) -> float | int:
    item = value.item() if hasattr(value, "item") else value
    if isinstance(item, bool) or not isinstance(item, int | float):
        raise InputError(f"{name} = {value!r} is not a number", f"give {name} as a number")
    if not math.isfinite(item) or (item < 0 and not signed):
        rule = "finite" if signed else "0 or more"
        raise InputError(
            f"{name} = {value!r} is not finite or negative", f"give {name}, a number {rule}"
        )
    return item
