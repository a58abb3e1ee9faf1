"""Processes are known by their program, however their folders are called."""

from __future__ import annotations

import pytest

from weir.programs import program


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["/usr/bin/dvc", "status"], "dvc"),
        (["/home/a b/weir/.venv/bin/python3.11", "/home/a b/weir/.venv/bin/dvc", "repro"], "dvc"),
        (["python", "-P", "-X", "utf8", "-m", "weir.engines.dvc.repro", "x"], "weir"),
        (["python", "-Wignore", "-msnakemake"], "snakemake"),
        (["/home/weir/bin/python", "-c", "input()"], ""),
        (["/home/weir/bin/python", "-"], ""),
        (["/home/weir/bin/python"], ""),
        (["python3", "/home/weir/dvc/train.py", "snakemake"], "train.py"),
        (["vim", "weir"], "vim"),
        ([], ""),
    ],
)
def test_the_program_is_told_from_its_folder_and_arguments(words: list[str], name: str) -> None:
    assert program(words) == name
