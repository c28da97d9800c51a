from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fugue_state.bending.schedule import fraction_forgotten
from fugue_state.bending.strengths import ORDERS, forget, make_order
from fugue_state.config import ModelConfig, ScheduleConfig
from fugue_state.errors import InputError

LAYERS = ModelConfig(feature_maps=4).layers  # 32 16 8 4 2


@pytest.mark.parametrize("name", sorted(ORDERS))
def test_orders_hold_every_unit_once_and_follow_the_seed(name: str) -> None:
    order = make_order(name, LAYERS, 7)
    assert sorted(order.tolist()) == list(range(62))
    assert np.array_equal(order, make_order(name, LAYERS, 7))
    assert not np.array_equal(order, make_order(name, LAYERS, 8))


def test_orders_are_the_same_on_every_machine() -> None:
    assert make_order("random", LAYERS, 7)[:6].tolist() == [53, 10, 51, 59, 12, 27]


def test_layerwise_goes_layer_by_layer() -> None:
    order = make_order("layerwise", LAYERS, 0)
    assert set(order[:32].tolist()) == set(range(32))
    assert set(order[-2:].tolist()) == {60, 61}


@given(st.floats(0, 1), st.floats(0, 1), st.sampled_from(sorted(ORDERS)))
def test_forgetting_is_nested_and_as_much_as_asked(a: float, b: float, name: str) -> None:
    low, high = sorted((a, b))
    order = make_order(name, LAYERS, 3)
    less, more = forget(order, low), forget(order, high)
    assert (more <= less).all()
    assert less.sum() == pytest.approx(62 * (1 - low), abs=1e-3)
    assert ((less >= 0) & (less <= 1)).all()


def test_ends_are_exact() -> None:
    order = make_order("random", LAYERS, 0)
    assert (forget(order, 0.0) == 1).all()
    assert (forget(order, 1.0) == 0).all()
    half = forget(order, 0.5)
    assert (half[order[:31]] == 0).all()
    assert (half[order[31:]] == 1).all()


def test_unknown_order_suggests() -> None:
    with pytest.raises(InputError, match="unknown order 'layerwize'; did you mean 'layerwise'"):
        make_order("layerwize", LAYERS, 0)


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan")])
def test_fraction_out_of_range_is_refused(fraction: float) -> None:
    with pytest.raises(InputError, match=r"within 0\.\.1"):
        forget(make_order("random", LAYERS, 0), fraction)
    with pytest.raises(InputError, match=r"within 0\.\.1"):
        fraction_forgotten(ScheduleConfig(), fraction)


def test_schedules() -> None:
    linear = ScheduleConfig(to=0.8)
    assert [fraction_forgotten(linear, t) for t in (0.0, 0.5, 1.0)] == pytest.approx([0, 0.4, 0.8])
    steps = ScheduleConfig(pace="steps", steps=4, to=0.8)
    seen = [fraction_forgotten(steps, t) for t in np.linspace(0, 1, 1001)]
    assert sorted({round(f, 6) for f in seen}) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
    assert seen == sorted(seen)
    assert seen[0] == 0
    assert seen[-1] == pytest.approx(0.8)
