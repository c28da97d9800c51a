from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fugue_state.arrays import Wide
from fugue_state.bending.orders import Order, make_order, needs_measured, parse_units
from fugue_state.bending.strengths import forget
from fugue_state.config import ModelConfig, OrderName
from fugue_state.errors import InputError

LAYERS = ModelConfig(feature_maps=4).layers  # 32 16 8 4 2
UNITS = 62
SEEDED = ("random", "layerwise", "saliency", "activation", "cluster", "frequency")


@dataclass(frozen=True)
class Told:
    """What a test knows of the units; every value occurs several times."""

    saliency: Wide
    activation: Wide
    centroid_hz: Wide
    cluster: Order
    region: Order


@pytest.fixture(scope="module")
def told() -> Told:
    return measured()


def measured() -> Told:
    rng = np.random.default_rng(1)
    drawn = [rng.integers(0, 20, UNITS) for _ in range(3)]
    saliency, activation, centroid_hz = (values.astype(np.float64) for values in drawn)
    return Told(saliency, activation, centroid_hz, rng.integers(0, 6, UNITS), rng.integers(-1, 3, UNITS))


def made(name: str, seed: int = 7, **asked: Any) -> Order:
    return make_order(name, LAYERS, seed, measured=measured(), **asked)


def test_every_order_is_tried_here() -> None:
    assert {*SEEDED, "list"} == set(get_args(OrderName))


@pytest.mark.parametrize("name", SEEDED)
def test_orders_hold_every_unit_once_and_follow_the_seed(name: str) -> None:
    order = made(name)
    assert sorted(order.tolist()) == list(range(UNITS))
    assert np.array_equal(order, made(name))
    assert not np.array_equal(order, made(name, 8))
    assert np.array_equal(order[::-1], made(name, reverse=True))


def test_orders_are_the_same_on_every_machine() -> None:
    assert made("random")[:6].tolist() == [53, 10, 51, 59, 12, 27]
    assert made("layerwise")[:6].tolist() == [14, 10, 22, 4, 25, 30]
    assert made("saliency")[:6].tolist() == [4, 19, 40, 42, 50, 18]


def test_layerwise_goes_layer_by_layer() -> None:
    order = made("layerwise", 0)
    assert set(order[:32].tolist()) == set(range(32))
    assert set(order[-2:].tolist()) == {60, 61}
    assert set(made("layerwise", 0, reverse=True)[:2].tolist()) == {60, 61}


@pytest.mark.parametrize(
    ("name", "key"), [("saliency", "saliency"), ("activation", "activation"), ("frequency", "centroid_hz")]
)
def test_what_is_least_goes_first_or_last(told: Told, name: str, key: str) -> None:
    values = getattr(told, key)
    assert (np.diff(values[made(name)]) >= 0).all()
    assert (np.diff(values[made(name, reverse=True)]) <= 0).all()


def test_equals_are_shuffled_across_layers(told: Told) -> None:
    drawn = [[unit for unit in made("saliency", seed) if told.saliency[unit] == 4.0] for seed in range(8)]
    assert all(sorted(one) == sorted(drawn[0]) for one in drawn)
    assert len({tuple(one) for one in drawn}) > 1
    assert any(one != sorted(one) for one in drawn)


def test_one_cluster_goes_after_another(told: Told) -> None:
    sequences = set()
    for seed in range(8):
        turns = told.cluster[made("cluster", seed)]
        sequence = turns[np.flatnonzero(np.diff(turns, prepend=-1))]
        assert sorted(sequence.tolist()) == list(range(6))
        sequences.add(tuple(sequence.tolist()))
    assert len(sequences) > 1


def test_a_list_goes_as_it_is_written_and_the_others_never() -> None:
    order = made("list", units=("deconv2:3", "deconv5", "deconv1:2-4", "deconv2:3", "deconv1:1-3"))
    assert order.tolist() == [34, 60, 61, 1, 2, 3, 0]
    gone = forget(order, 1.0, UNITS)
    assert np.flatnonzero(gone == 0).tolist() == [0, 1, 2, 3, 34, 60, 61]
    assert made("list", units=("deconv5", "deconv1:1"), reverse=True).tolist() == [0, 61, 60]


@given(st.floats(0, 1), st.floats(0, 1), st.sampled_from(SEEDED), st.booleans(), st.booleans())
def test_forgetting_is_nested_and_as_much_as_asked(a: float, b: float, name: str, reverse: bool, part: bool) -> None:
    low, high = sorted((a, b))
    order = made(name, 3, reverse=reverse, **({"scope": ("deconv2", "deconv4"), "locks": ("body",)} if part else {}))
    less, more = forget(order, low, UNITS), forget(order, high, UNITS)
    assert (more <= less).all()
    assert less.sum() == pytest.approx(UNITS - len(order) * low, abs=1e-3)
    assert ((less >= 0) & (less <= 1)).all()
    stay = np.setdiff1d(np.arange(UNITS), order)
    assert (more[stay] == 1).all()


@pytest.mark.parametrize("name", SEEDED)
def test_scope_and_locks_only_leave_units_out(told: Told, name: str) -> None:
    order = made(name, scope=("deconv1", "deconv3:1-4"), locks=("deconv1:1-10", "deconv3:2", "deconv5"))
    goes = [*range(10, 32), 48, 50, 51]
    assert sorted(order.tolist()) == goes
    assert order.tolist() == [unit for unit in made(name) if unit in goes]
    air = made(name, scope=("air",), locks=("deconv1",))
    assert sorted(air.tolist()) == [u for u in range(32, UNITS) if told.region[u] == 2]


def test_a_list_keeps_to_its_scope_and_locks() -> None:
    assert made("list", units=("deconv5", "deconv4"), locks=("deconv5:1",), scope=("deconv5",)).tolist() == [61]


def test_names_of_units() -> None:
    assert parse_units((), LAYERS).tolist() == []
    assert parse_units(("deconv4",), LAYERS).tolist() == [56, 57, 58, 59]
    assert parse_units(("deconv1:32", "deconv2:1", "deconv5:1-2"), LAYERS).tolist() == [31, 32, 60, 61]
    where = measured().region
    for number, name in enumerate(("bass", "body", "air")):
        assert parse_units((name,), LAYERS, measured()).tolist() == np.flatnonzero(where == number).tolist()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("decon2", "unknown layer 'decon2'; did you mean 'deconv2'"),
        ("ari", "unknown layer 'ari'; did you mean 'air'"),
        ("output", "unknown layer 'output'"),
        ("deconv2:300", "^deconv2:300: deconv2 has units 1 to 16$"),
        ("deconv2:0", "^deconv2:0: deconv2 has units 1 to 16$"),
        ("deconv2:0-3", "deconv2 has units 1 to 16"),
        ("deconv2:10-17", "deconv2 has units 1 to 16"),
        ("deconv2:9-4", "^deconv2:9-4: a range goes up, like deconv2:4-9$"),
        ("deconv2:", "'deconv2:' names no units; they are written like deconv2, deconv2:17 or deconv2:1-64"),
        ("deconv2:-3", "names no units"),
        ("deconv2:1.5", "names no units"),
        ("deconv2:1\n", "names no units"),
        ("deconv2:1-2-3", "names no units"),
        ("deconv2:٣", "names no units"),
        ("", "names no units"),
        ("air:3", "unknown layer 'air'"),
    ],
)
def test_names_that_are_no_units(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        made("random", scope=(name,))
    with pytest.raises(InputError, match=message):
        made("random", locks=(name,))
    with pytest.raises(InputError, match=message):
        made("list", units=(name,))


@pytest.mark.parametrize(
    ("name", "asked", "message"),
    [
        ("layerwize", {}, "unknown order 'layerwize'; did you mean 'layerwise'"),
        ("list", {}, "order 'list' needs units"),
        ("random", {"units": ("deconv1",)}, "order 'random' takes no units"),
        ("random", {"locks": tuple(LAYERS)}, "nothing is left to forget"),
        ("cluster", {"scope": ("deconv1",), "locks": ("deconv1:1-16", "deconv1:17-32")}, "nothing is left to forget"),
        ("list", {"units": ("deconv5",), "locks": ("deconv5",)}, "nothing is left to forget"),
    ],
)
def test_orders_that_cannot_be(name: str, asked: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        made(name, **asked)


@pytest.mark.parametrize("name", SEEDED[2:])
def test_some_orders_need_what_is_measured(name: str) -> None:
    assert needs_measured(name)
    with pytest.raises(InputError, match=f"order '{name}' needs what is measured"):
        make_order(name, LAYERS, 0)
    with pytest.raises(InputError, match="of 62 units, the memory has 10"):
        make_order(name, {"deconv1": 8, "deconv2": 2}, 0, measured=measured())


def test_regions_need_what_is_measured() -> None:
    assert not needs_measured("random", ("deconv1", "deconv2:3"))
    assert needs_measured("random", ("deconv1", "air"))
    with pytest.raises(InputError, match="'air' needs what is measured"):
        make_order("random", LAYERS, 0, locks=("air",))
