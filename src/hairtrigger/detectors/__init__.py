"""Detectors: simulated and recorded events, each detector in one module.

``rpc`` simulates the muon trigger's RPC images, ``rpc_files`` and ``rpc_toy`` read those of others;
``cms_dt`` reads CMS drift tubes; ``lhcb`` reads tau -> 3 mu candidates of LHCb, and ``lhcb_toy``
generates such; ``strips`` simulates Micromegas planes and chambers, and ``strips_clusters`` finds
clusters in them; ``vmm`` opens recorded hits of strip detectors (captures, CSV, HDF5, ROOT) and
``vmm_clusters`` finds clusters in them; ``dune_files`` opens raw data of DUNE (frames, HDF5
records, arrays, sockets), and ``noise_measure`` measures the noise in them; ``store`` keeps events
of any detector on disk.
"""

from hairtrigger.detectors import rpc, store

__all__ = ["rpc", "store"]
