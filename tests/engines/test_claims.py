"""A job ends well although another machine has struck it from DVC's list of running stages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from dvc import rwlock as dvc_rwlock
from dvc.fs import localfs

from weir.engines.dvc.claims import ignore_missing_rwlock_entries

OTHERS = {"pid": 1, "cmd": "another node's"}


def claim(folder: Path, strike: bool) -> dict[str, object]:
    """What the list holds after a command that read `a` and wrote `b`."""
    file = folder / "rwlock"
    file.write_text(json.dumps({"write": {}, "read": {"/a": [OTHERS], "/c": [OTHERS]}}))
    with dvc_rwlock.rwlock(str(folder), localfs, "mine", ["/a"], ["/b"], False):
        assert json.loads(file.read_text())["write"]["/b"]["cmd"] == "mine"
        if strike:
            file.write_text(json.dumps({"write": {}, "read": {"/c": [OTHERS]}}))
    return json.loads(file.read_text())


def test_a_struck_claim_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_release_write", "_release_read"):
        monkeypatch.setattr(dvc_rwlock, name, getattr(dvc_rwlock, name))
    with pytest.raises(AssertionError):
        claim(tmp_path, strike=True)  # as DVC is: if this changes, the module can go
    ignore_missing_rwlock_entries()
    assert claim(tmp_path, strike=True)["read"] == {"/c": [OTHERS]}
    assert claim(tmp_path, strike=False)["read"] == {"/a": [OTHERS], "/c": [OTHERS]}
