"""hairtrigger: from detector data to a verified neural-network trigger in an FPGA."""

__version__ = "0.1.0"
