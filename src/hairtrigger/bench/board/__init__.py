"""Boards: what is built, driven and read back to have a network measured in an FPGA."""
