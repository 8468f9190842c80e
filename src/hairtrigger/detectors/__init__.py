"""Detectors: simulated and recorded events, each detector in one module.

``rpc`` simulates the muon trigger's RPC images; ``store`` keeps events of any detector on disk.
"""

from hairtrigger.detectors import rpc, store

__all__ = ["rpc", "store"]
