"""Many Graphs side by side in one Verilator build; the fuzzer has the code."""

from hairtrigger.fuzz.batch import Batch

__all__ = ["Batch"]
