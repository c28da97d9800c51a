"""The array types used throughout."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Wide = npt.NDArray[np.float64]
Spectrum = npt.NDArray[np.complex64]
Whole = npt.NDArray[np.int64]
