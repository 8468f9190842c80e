"""One network on CPU, GPU and FPGA side by side: the same inputs, answers compared, then times."""
