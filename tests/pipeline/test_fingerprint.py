"""Fingerprints tell runs apart by parameters, inputs and code, and by nothing else."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from weir.files import digest, folder_digest
from weir.pipeline.fingerprint import fingerprint

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=5), json_values, max_size=5))
def test_the_order_of_keys_does_not_matter(value: dict) -> None:
    assert digest(value) == digest(dict(reversed(value.items())))


def test_parameters_inputs_and_stage_matter() -> None:
    base = fingerprint("stage1", "a-s0", {"x": 1}, {"data": "d"}, "c")
    assert base == fingerprint("stage1", "a-s0", {"x": 1}, {"data": "d"}, "c")
    others = [
        fingerprint("joint", "a-s0", {"x": 1}, {"data": "d"}, "c"),
        fingerprint("stage1", "a-s1", {"x": 1}, {"data": "d"}, "c"),
        fingerprint("stage1", "a-s0", {"x": 2}, {"data": "d"}, "c"),
        fingerprint("stage1", "a-s0", {"x": 1}, {"data": "e"}, "c"),
        fingerprint("stage1", "a-s0", {"x": 1}, {"data": "d"}, "e"),
    ]
    assert len({base, *others}) == 6


def test_a_folder_is_its_names_and_bytes(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a").write_bytes(b"1")
    first = folder_digest(tmp_path)
    (tmp_path / ".snakemake_timestamp").touch()
    assert folder_digest(tmp_path) == first
    (tmp_path / "sub" / "a").rename(tmp_path / "a")
    moved = folder_digest(tmp_path)
    (tmp_path / "a").write_bytes(b"2")
    assert len({first, moved, folder_digest(tmp_path)}) == 3
