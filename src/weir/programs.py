"""Which program a process runs: its name is asked for, not the text of its command line.

Folders are called `weir`, too, so that the path of any interpreter may hold the word.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

_INTERPRETER = re.compile(r"python[\d.]*")
_WITH_VALUE = ("-X", "-W")


def program(words: Sequence[str]) -> str:
    """Name of the program of a command line; that of the script or module, if Python runs it.

    Args:
        words: the command line, as the process got it.

    Returns:
        `dvc` for `/usr/bin/dvc`, for `python /envs/weir/bin/dvc` and for `python -m dvc`; of a
        module, its package; "" for code on the command line, for a prompt and for no words.
    """
    if not words:
        return ""
    name = Path(words[0]).name
    if not _INTERPRETER.fullmatch(name):
        return name
    rest = iter(words[1:])
    for word in rest:
        if word in _WITH_VALUE:
            next(rest, "")
        elif word == "-" or word.startswith("-c"):
            return ""
        elif word.startswith("-m"):
            return (word[2:] or next(rest, "")).partition(".")[0]
        elif not word.startswith("-"):
            return Path(word).name
    return ""
