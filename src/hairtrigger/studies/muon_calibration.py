"""How the pT that a muon network says becomes the one that is compared with the threshold.

Training has no part in it, so another calibration asks for no other network.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LOWEST_PT_GEV = 3.0
HIGHEST_PT_GEV = 40.0
CALIBRATION = ((0.0, 13.3, 13.6, 16.5, HIGHEST_PT_GEV), (0.0, 13.3, 15.0, 16.5, HIGHEST_PT_GEV))
"""pT [GeV] that the network says, and what it is taken for; straight lines between.

It is taught the median, so half of the muons at a threshold would fail it: 13.6 GeV and more reach
the trigger's threshold of 15. Up to 13.3 GeV and from 16.5 GeV on pT is as taught.
"""


def calibrated(pt: Any) -> NDArray[np.float64]:
    """pT [GeV] for the trigger of what a network says; 40 at most."""
    return np.interp(np.asarray(pt, dtype=np.float64), *CALIBRATION)
