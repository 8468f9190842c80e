"""What a block of samples shows of pedestals and noise: robust against the tracks in it.

noise = measure_noise(block.samples[:, columns], boards=48, seconds_per_tick=512e-9)
noise.pedestal, noise.rms                # of each channel, in ADC counts
noise.coherent_rms                       # of each board
noise.frequency_hz, noise.amplitude      # spectrum, of each channel
"""

import math
from dataclasses import dataclass

import numpy as np

from hairtrigger.errors import InputError

MAD_TO_RMS = 1.482602218505602
"""Gaussian rms over median absolute deviation: 1 / Phi^-1(3/4)."""

CLIP_RMS = 3.0
CLIPPED_RMS = math.sqrt(
    1
    - 2
    * CLIP_RMS
    * math.exp(-(CLIP_RMS**2) / 2)
    / (math.sqrt(2 * math.pi) * math.erf(CLIP_RMS / math.sqrt(2)))
)
"""Rms of a unit Gaussian cut off at +-3 = c: sqrt(1 - 2 c phi(c) / (2 Phi(c) - 1)), 0.987."""

SIGNAL_RMS = 5.0
"""Samples further than this from the pedestal, in rms, are signal."""


@dataclass(frozen=True)
class Noise:
    """Noise of channels, in ADC counts.

    ``pedestal``: median, float64 (channels,). ``rms``: of what lies within 3 rms of the median,
    corrected for the cut.
    ``coherent_rms`` (boards,): rms of the common mode, which is the median over a board's channels
    in each tick, less what independent noise alone would put there. ``incoherent_rms`` (channels,):
    with the common mode taken away. ``frequency_hz`` (segment / 2 + 1,); ``amplitude`` (channels,
    segment / 2 + 1): rms of the part of the noise in each bin, so the sum of its squares over bins
    is the variance. ``segments`` (channels,): how many stretches without signal went in.
    """

    pedestal: np.ndarray
    rms: np.ndarray
    coherent_rms: np.ndarray
    incoherent_rms: np.ndarray
    frequency_hz: np.ndarray
    amplitude: np.ndarray
    segments: np.ndarray


def measure_noise(
    samples: np.ndarray,
    *,
    boards: int = 48,
    seconds_per_tick: float,
    segment: int = 128,
    missing: np.ndarray | None = None,
) -> Noise:
    """Pedestal, noise, common mode and spectrum of samples (ticks, channels).

    ``boards``: channels of a board, which divide the channels. The spectrum is that of stretches of
    ``segment`` ticks without signal (`SIGNAL_RMS`), each less its mean, without a window; channels
    without such a stretch have NaN. ``missing``: bool like the samples, left out; ticks in which
    any channel is missing do not count for the common mode.

    Raises InputError for other shapes, NaN, fewer ticks than ``segment``, or a board size that does
    not divide the channels.
    """
    values = np.asarray(samples)
    if values.ndim != 2 or values.dtype.kind not in "uif" or not values.shape[1]:
        raise InputError(
            f"samples of shape {values.shape} and type {values.dtype} have no noise to measure",
            "give numbers (ticks, channels)",
        )
    ticks, channels = values.shape
    if not 2 <= segment <= ticks:
        raise InputError(
            f"segment = {segment} does not fit in {ticks} ticks",
            f"give 2 to {ticks}, or more ticks",
        )
    if boards < 1 or channels % boards:
        raise InputError(
            f"{channels} channels are no whole boards of {boards}", "give the channels of a board"
        )
    values = values.astype(np.float64)
    if missing is not None:
        values = np.where(missing, np.nan, values)
    elif not np.isfinite(values).all():
        tick, channel = np.argwhere(~np.isfinite(values))[0].tolist()
        raise InputError(
            f"the sample at tick {tick}, channel {channel} is {values[tick, channel]}",
            "give finite samples, or mark it as missing",
        )
    whole = np.isfinite(values).all(axis=1)
    if not whole.any():
        raise InputError("no tick has all channels", "give samples that are not all missing")
    pedestal = np.nanmedian(values, axis=0)
    values -= pedestal
    rms = _robust_rms(values)
    common = np.median(values.reshape(ticks, -1, boards), axis=2)  # NaN where any is missing
    incoherent = _robust_rms(values - np.repeat(common, boards, axis=1))
    # The median of n independent values has a variance of pi / (2 n) of one of them.
    by_board = (incoherent**2).reshape(-1, boards).mean(axis=1)
    alone = np.pi / 2 / boards * by_board if boards > 1 else 0 * by_board
    coherent = np.sqrt(np.maximum(_robust_rms(common) ** 2 - alone, 0))
    amplitude, used = _spectrum(values, rms, segment)
    frequency = np.fft.rfftfreq(segment, seconds_per_tick)
    return Noise(pedestal, rms, coherent, incoherent, frequency, amplitude, used)


def _robust_rms(values: np.ndarray) -> np.ndarray:
    """Of each column, clipped at 3 rms; NaN are left out.

    It begins with the median absolute deviation, which alone would step by 1.5 counts.
    """
    away = values - np.nanmedian(values, axis=0)
    rms = MAD_TO_RMS * np.nanmedian(np.abs(away), axis=0)
    for _ in range(5):
        inside = np.abs(away) <= CLIP_RMS * np.maximum(rms, 0.5)
        count = inside.sum(axis=0)
        kept = np.where(inside, away, 0)
        mean = kept.sum(axis=0) / count
        variance = (kept**2).sum(axis=0) / count - mean**2
        rms = np.sqrt(np.maximum(variance, 0)) / CLIPPED_RMS
    return rms


def _spectrum(values: np.ndarray, rms: np.ndarray, segment: int) -> tuple[np.ndarray, np.ndarray]:
    ticks, channels = values.shape
    count = ticks // segment
    parts = values[: count * segment].reshape(count, segment, channels)
    quiet = (np.abs(parts) <= SIGNAL_RMS * np.maximum(rms, 1.0)).all(axis=1)  # False for NaN
    parts = np.where(quiet[:, None, :], parts, 0)
    parts = np.where(quiet[:, None, :], parts - parts.mean(axis=1, keepdims=True), 0)
    power = np.abs(np.fft.rfft(parts, axis=1)) ** 2 / segment**2
    power[:, 1 : (segment + 1) // 2] *= 2  # negative frequencies
    used = quiet.sum(axis=0)
    mean = np.full((channels, power.shape[1]), np.nan)
    some = used > 0
    mean[some] = (power.sum(axis=0)[:, some] / used[some]).T
    return np.sqrt(mean), used
