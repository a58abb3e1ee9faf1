"""Digests are read from what DVC left."""

from pathlib import Path

from weir.tracking.lineage import dvc_digests

LOCK = """schema: '2.0'
stages:
  preprocess@etth1:
    cmd: weir preprocess etth1
    deps:
    - path: data/raw/etth1
      hash: md5
      md5: stale.dir
      size: 10
    params:
      params.yaml:
        datasets.etth1:
          path: data/raw/etth1
          md5: not-a-digest
    outs:
    - path: data/processed/etth1
      hash: md5
      md5: 33cb40a87a9b8d8f62e1a4b0f5bd0a6c.dir
      size: 12
  fetch@etth1:
    cmd: weir fetch etth1
    outs:
    - path: data/raw/etth1
      hash: md5
      md5: 1f3870be274f6c49b3e31a0c6728957f.dir
"""


def test_digests_of_outputs_are_found(tmp_path: Path) -> None:
    (tmp_path / "dvc.lock").write_text(LOCK)
    wanted = [tmp_path / "data/raw/etth1", tmp_path / "data/processed/etth1", tmp_path / "other"]
    assert dvc_digests(tmp_path, wanted) == {
        "data/raw/etth1": "1f3870be274f6c49b3e31a0c6728957f.dir",
        "data/processed/etth1": "33cb40a87a9b8d8f62e1a4b0f5bd0a6c.dir",
    }


def test_without_a_lock_file_there_are_none(tmp_path: Path) -> None:
    assert dvc_digests(tmp_path, [tmp_path / "data"]) == {}
