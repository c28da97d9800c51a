"""A bend as it travels to a page: a description and arrays, from which engine/bends.js makes it again."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fugue_state.memory.bends import REPLACEMENTS, Bend

Arrays = dict[str, npt.NDArray[Any]]
PREFIX = "bend."


def described(bend: Bend | None) -> tuple[dict[str, Any] | None, Arrays]:
    """Return what the page's `Memory.bend` takes: a description for JSON, None for no bend, and the arrays by name.

    `bend.replacement` (U,) counts in the description's `names`; `bend.gain`, `bend.invert` and `bend.mean` (U,) are
    there if the bend has them; so are a Source's `bend.<name>.latent` (Z,) and `bend.<name>.strengths` (U,).
    """
    if bend is None:
        return None, {}
    arrays: Arrays = {"replacement": np.array([REPLACEMENTS.index(name) for name in bend.replacement], dtype=np.uint8)}
    arrays |= {
        name: values
        for name, values in (("gain", bend.gain), ("invert", bend.invert), ("mean", bend.mean))
        if values is not None
    }
    for name, moment in bend.moments.items():
        arrays[f"{name}.latent"] = moment.z[0]
        if moment.strengths is not None:
            arrays[f"{name}.strengths"] = np.concatenate([each.reshape(-1) for each in moment.strengths.values()])
    labels = {name: int(moment.label[0]) for name, moment in bend.moments.items()}
    description = {"names": list(REPLACEMENTS), "seed": bend.seed, "labels": labels}
    return description, {PREFIX + name: values for name, values in arrays.items()}
