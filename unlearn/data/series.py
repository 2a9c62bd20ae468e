"""Random series with a memory."""

from __future__ import annotations

import numpy as np

from unlearn.checks import FloatArray


def autoregressive(shocks: FloatArray, memory: float, axis: int = 0) -> FloatArray:
    """Turn white noise into a stationary AR(1) series of unit variance with a memory of some steps along an axis."""
    decay = np.exp(-1 / memory)
    scaled = shocks * np.sqrt(1 - decay**2)
    first = (0,) if axis == 0 else (..., 0)
    scaled[first] = shocks[first]
    from scipy.signal import lfilter  # most of a second to import, and only made-up data needs it

    return lfilter([1.0], [1.0, -decay], scaled, axis=axis)
