"""dvc.lock is the file that DVC would have written."""

from __future__ import annotations

from typing import Any

from dvc.utils.serialize import dumps_yaml, parse_yaml_for_update
from hypothesis import given, settings
from hypothesis import strategies as st

from weir.engines.dvc.repro import with_entry

NAMES = st.from_regex(r"\A[a-z][a-z0-9]{0,8}(@[a-z0-9-]{1,30})?\Z")
# DVC's writer may change the last digit of a float of other entries; here those stay as they are.
FLOATS = st.integers(-(10**9), 10**9).map(lambda number: number / 1000)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | FLOATS | st.text(max_size=120),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3)
    ),
    max_leaves=4,
)
ENTRIES = st.dictionaries(st.sampled_from(["cmd", "deps", "params", "outs"]), VALUES, min_size=1)


def by_dvc(text: str, name: str, entry: Any) -> str:
    data = parse_yaml_for_update(text, "dvc.lock") or {"schema": "2.0"}
    data["stages"] = data.get("stages", {})
    data["stages"].update({name: entry})
    return dumps_yaml(data)


def lines(name: str, entry: Any) -> str:
    return dumps_yaml({"stages": {name: entry}}).partition("\n")[2]


@settings(max_examples=10, deadline=None)
@given(st.dictionaries(NAMES, ENTRIES, min_size=1, max_size=4), NAMES, ENTRIES, st.data())
def test_one_entry_is_replaced_as_dvc_does_it(
    stages: dict[str, Any], new: str, entry: Any, data: st.DataObject
) -> None:
    text = dumps_yaml({"schema": "2.0", "stages": stages})
    name = data.draw(st.sampled_from([*stages, new]))
    found = with_entry(text, lines(name, entry))
    if found is not None:
        # DVC's own writer wraps long text of other entries again, which changes no value.
        expected = by_dvc(text, name, entry)
        assert parse_yaml_for_update(found, "") == parse_yaml_for_update(expected, "")
        assert list(parse_yaml_for_update(found, "")["stages"]) == list(
            dict.fromkeys([*stages, name])
        )


def test_plain_entries_are_the_same_bytes() -> None:
    stages = {
        f"stage{number}@run-s{number}": {
            "cmd": f"weir stage run --seed {number}",
            "deps": [{"path": "data", "hash": "md5", "md5": "a" * 32, "size": 3}],
            "params": {"params.yaml": {"stage.run": {"rate": 2.0e-3, "on": "no", "none": None}}},
        }
        for number in range(3)
    }
    text = dumps_yaml({"schema": "2.0", "stages": stages})
    for name in ("stage0@run-s0", "stage2@run-s2", "stage9@run-s9"):
        entry = {"cmd": "other", "outs": [{"path": "x", "md5": "b" * 32}]}
        assert with_entry(text, lines(name, entry)) == by_dvc(text, name, entry)


def test_files_of_another_form_are_left_to_dvc() -> None:
    entry = lines("a", {"cmd": "x"})
    for text in (
        "",
        "schema: '2.0'\nstages: {}\n",
        "schema: '2.0'\ndatasets: []\nstages:\n  a:\n    cmd: y\n",
        "schema: '2.0'\nstages:\n  a:\n    cmd: y\ndatasets: []\n",
        "schema: '2.0'\nstages:\n  a:\n    cmd: &id001\n    - y\n    deps: *id001\n",
        "schema: '2.0'\nstages:\n  a: &id001\n    cmd: y\n  b: *id001\n",
        "schema: '2.0'\nstages:\n  a:\n    cmd: |\n      y\n\n      z\n",
    ):
        assert with_entry(text, entry) is None
