"""HLS projects by hls4ml, with C++ functions of the user's own in them, proven against the Graph.

docs/backends/hls.md says how to use it; `hairtrigger.backends.hls` is the way in.
"""
