from __future__ import annotations

import pytest

from fugue_state.bending.orders import make_order
from fugue_state.bending.strengths import forget
from fugue_state.config import ModelConfig
from fugue_state.errors import InputError

LAYERS = ModelConfig(feature_maps=4).layers  # 32 16 8 4 2


def test_ends_are_exact() -> None:
    order = make_order("random", LAYERS, 0)
    assert (forget(order, 0.0, 62) == 1).all()
    assert (forget(order, 1.0, 62) == 0).all()
    half = forget(order, 0.5, 62)
    assert (half[order[:31]] == 0).all()
    assert (half[order[31:]] == 1).all()


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan")])
def test_fraction_out_of_range_is_refused(fraction: float) -> None:
    with pytest.raises(InputError, match=r"within 0\.\.1"):
        forget(make_order("random", LAYERS, 0), fraction, 62)
