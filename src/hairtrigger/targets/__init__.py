"""What a design must fit: parts and their resources, clocks and times, a delay model."""

from hairtrigger.targets.delays import LABEL, DelayModel, delay_model
from hairtrigger.targets.parts import PARTS, Part, find_part
from hairtrigger.targets.units import Clock, parse_clock, parse_interval, parse_time

__all__ = [
    "LABEL",
    "PARTS",
    "Clock",
    "DelayModel",
    "Part",
    "delay_model",
    "find_part",
    "parse_clock",
    "parse_interval",
    "parse_time",
]
