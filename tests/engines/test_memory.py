"""Memory that is freed stays with the process, so that the next step need not ask for it again."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
if sys.argv[1] == "keep":
    from weir.engines.memory import keep_freed_memory
    assert keep_freed_memory()
for _ in range(20):
    bytearray(64_000_000)  # cleared by the system, page by page
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


def test_pages_are_asked_for_once() -> None:
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("glibc alone can be told to keep memory")
    asked = {
        how: int(
            subprocess.run(
                [sys.executable, "-c", PROGRAM, how], check=True, capture_output=True, text=True
            ).stdout
        )
        for how in ("give", "keep")
    }
    assert asked["keep"] < asked["give"] / 4
