"""The fuzzer: random Graphs through everything that must agree; see `hairtrigger.fuzz.run`."""
