"""External tools: find them, name their version, run them, and explain a failure."""
