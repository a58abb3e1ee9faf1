"""Settings become what MLflow accepts."""

import doctest
import json
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weir.settings.base import flatten
from weir.tracking import lineage as parameters
from weir.tracking import views
from weir.tracking.lineage import KEY_LIMIT, VALUE_LIMIT, entity_key, entity_value

LEAVES = st.one_of(st.integers(), st.text(max_size=5), st.lists(st.integers(), max_size=3))
NAMES = st.text("abc", min_size=1, max_size=3)
SETTINGS = st.dictionaries(
    NAMES, st.recursive(LEAVES, lambda inner: st.dictionaries(NAMES, inner, min_size=1, max_size=3))
)


@settings(max_examples=30, deadline=None)
@given(SETTINGS)
def test_flatten_keeps_every_leaf_under_its_path(nested: dict) -> None:
    def leaf(path: str) -> object:
        value = nested
        for part in path.split("."):
            value = value[part]
        return value

    def count(value: object) -> int:
        return sum(map(count, value.values())) if isinstance(value, dict) else 1

    flat = flatten(nested)
    assert all(leaf(path) == value for path, value in flat.items())
    assert len(flat) == count(nested)


def test_an_empty_mapping_is_a_value() -> None:
    assert flatten({"stage1": {"extra": {}}}) == {"stage1.extra": {}}


@given(st.text(min_size=1))
def test_keys_hold_only_what_mlflow_accepts(name: str) -> None:
    from mlflow.utils.validation import _validate_param_name

    key = entity_key(name)
    assert 0 < len(key) <= KEY_LIMIT
    if key.strip("./ ") == key and "//" not in key and not {".", ".."} & set(key.split("/")):
        _validate_param_name(key)


def test_a_long_value_is_cut_and_says_so() -> None:
    text = entity_value("x" * 10_000)
    assert len(text) == VALUE_LIMIT and text.endswith("[cut: 10000 characters]")
    assert entity_value("x" * VALUE_LIMIT) == "x" * VALUE_LIMIT


@pytest.mark.parametrize("module", [parameters, views])
def test_examples_in_docstrings_hold(module: ModuleType) -> None:
    results = doctest.testmod(module)
    assert results.attempted > 0 and results.failed == 0


def test_values_are_readable() -> None:
    assert entity_value(1e-4) == "0.0001"
    assert entity_value(None) == "None"
    assert json.loads(entity_value([1, 2])) == [1, 2]
