"""params.yaml means the same to Weir's loader and to DVC, whatever YAML's dialects make of it.

And what `dvc exp run -S` writes to it is the one line that was asked for.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkout import PARAMS, REPOSITORY
from dvc.utils.hydra import apply_overrides
from dvc.utils.serialize import YAMLFileCorruptedError, load_path
from hypothesis import given, settings
from hypothesis import strategies as st

from weir.errors import UserError
from weir.pipeline.params.graph import load_params
from weir.pipeline.params.yaml_file import read_yaml

SHIPPED = [
    REPOSITORY / "params.yaml",
    REPOSITORY / "docs" / "points.yaml",
    *sorted((REPOSITORY / "config").glob("*.yaml")),
]


def by_dvc(path: Path) -> Any:
    from dvc.fs import localfs

    return load_path(str(path), localfs)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_files_mean_the_same_in_every_dialect(path: Path) -> None:
    """Even to PyYAML, which reads YAML 1.1: Snakemake and most editors do as it does."""
    assert read_yaml(path) == by_dvc(path) == yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1.0e-4", 1e-4),
        ("on", "on"),
        ("yes", "yes"),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("'1:30'", "1:30"),
        ("~", None),
        ("null", None),
        ("True", True),
        (".5", 0.5),
        ("1_000", 1000),
        ("'1e-4'", "1e-4"),
    ],
)
def test_where_dialects_differ_ours_is_dvc(tmp_path: Path, text: str, value: Any) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(f"section: {{node: {{value: {text}}}}}\n")
    ours = read_yaml(path)["section"]["node"]["value"]
    assert ours == by_dvc(path)["section"]["node"]["value"] == value
    assert type(ours) is type(value)


@pytest.mark.parametrize("value", ["1:30", "https://example.org/data"])
def test_what_dvc_cannot_read_is_an_error_that_says_so(tmp_path: Path, value: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(f"section:\n  node: {{value: {value}}}\n")
    with pytest.raises(YAMLFileCorruptedError):
        by_dvc(path)
    with pytest.raises(UserError, match=r":2: DVC cannot read this line .* between quotes$"):
        read_yaml(path)
    path.write_text(f"section:\n  node: {{value: '{value}'}}\n  other: {value}\n")
    assert read_yaml(path) == by_dvc(path)


NAMES = st.from_regex(r"[a-z][a-z0-9]{0,5}", fullmatch=True)
SCALARS = st.one_of(
    st.integers(-(10**9), 10**9),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.none(),
    st.text(st.characters(codec="ascii", categories=("L", "N", "P", "Zs")), max_size=12),
)
SETTINGS = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3)
)


@settings(max_examples=60, deadline=None)
@given(content=st.dictionaries(NAMES, SETTINGS, min_size=1, max_size=4))
def test_what_any_tool_writes_is_read_the_same(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, Any]
) -> None:
    path = tmp_path_factory.mktemp("yaml") / "params.yaml"
    path.write_text(yaml.safe_dump(content))
    assert read_yaml(path) == by_dvc(path)


def test_the_params_of_these_tests_are_valid(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(PARAMS)
    assert read_yaml(path) == by_dvc(path)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_dvc_writes_a_shipped_file_back_as_it_is(path: Path, tmp_path: Path) -> None:
    """So `dvc exp run -S` changes what it is told to change, and no other line."""
    copy = tmp_path / "params.yaml"
    shutil.copy(path, copy)
    seeds = json.dumps(read_yaml(path).get("seeds", [0]))
    apply_overrides(copy, [f"++seeds={seeds}"])
    if "seeds" not in read_yaml(path):
        copy.write_text(copy.read_text().removesuffix("seeds:\n- 0\n"))
    assert copy.read_text() == path.read_text()


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_no_shipped_node_shares_settings_with_another(path: Path) -> None:
    """DVC writes merges out, and of two nodes that share a block by an anchor it sets both."""
    tokens = list(yaml.scan(path.read_text(encoding="utf-8")))
    assert not [each for each in tokens if isinstance(each, yaml.AnchorToken | yaml.AliasToken)]


def test_a_file_with_merges_is_read(tmp_path: Path) -> None:
    """A user's own may have them."""
    path = tmp_path / "params.yaml"
    path.write_text(
        "stage1:\n  a: &a {width: 1, heads: 2}\n  b: {<<: *a, heads: 3}\n  c: {inner: *a}\n"
    )
    assert read_yaml(path)["stage1"]["b"] == {"width": 1, "heads": 3}
    assert read_yaml(path) == by_dvc(path)


def as_override(value: Any) -> str:
    """A value as Hydra's grammar has it."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{as_override(value[key])}" for key in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(as_override, value)) + "]"
    return json.dumps(value)


def overrides(value: Any, place: str) -> list[str]:
    """Settings of a block by their dotted names; a block whose keys have dots is set as a whole."""
    if isinstance(value, dict) and value and not any("." in str(key) for key in value):
        return [each for k, v in value.items() for each in overrides(v, f"{place}.{k}")]
    return [f"++{place}={as_override(value)}"]


@pytest.mark.parametrize("path", SHIPPED[:1] + SHIPPED[2:], ids=lambda path: path.name)
def test_every_setting_can_be_set_by_dvc(path: Path, tmp_path: Path) -> None:
    """Also those that the file leaves to their defaults: docs/params.md lists them all."""
    copy = tmp_path / "params.yaml"
    shutil.copy(path, copy)
    nodes = load_params(path).nodes
    words = [
        each
        for node in nodes.values()
        for each in overrides(node.config.model_dump(mode="json"), f"{node.section}.{node.name}")
    ]
    assert len(words) > 5 * len(nodes)
    apply_overrides(copy, words)
    assert {ref: node.config for ref, node in load_params(copy).nodes.items()} == {
        ref: node.config for ref, node in nodes.items()
    }
