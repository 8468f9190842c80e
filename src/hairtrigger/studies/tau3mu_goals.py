"""What the chip of the tau3mu study is to reach, at 200 MHz or faster, with all its generators."""

from hairtrigger.studies.base import Goal

GOALS = (
    Goal("lut", "LUT", "", "low", 3000),
    Goal("latency_ns", "latency", "ns", "low", 100),
    Goal("interval_ns", "initiation interval", "ns", "low", 5),
    Goal("dsp", "DSP", "", "low", 0),
)
