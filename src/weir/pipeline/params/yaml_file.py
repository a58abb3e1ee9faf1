"""Reading params.yaml as YAML 1.2, the dialect of DVC, and finding the line of a key.

DVC parses in C where `ruamel.yaml.clib` is installed, which is several times as fast and takes all
that Weir takes but a colon within an unquoted value in braces: that is an error here as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from weir.errors import UserError


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        UserError: the file is missing, is not YAML, repeats a key or is no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"{shown(path)}: cannot be read ({error.strerror}); run from the repository root, or "
            "pass --params FILE"
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"{shown(path)}: is not UTF-8 text (byte {error.start}); save it as UTF-8"
        ) from error
    try:
        content = YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        problem = " ".join((error.problem or "not valid YAML").split()).partition(" with value ")[0]
        raise UserError(f"{shown(path)}:{line}: {problem}; fix the YAML there") from error
    except YAMLError as error:
        raise UserError(f"{shown(path)}: {' '.join(str(error).split())}; fix the YAML") from error
    if not isinstance(content, dict):
        raise UserError(f"{shown(path)}: must be a mapping of sections such as `datasets:`")
    try:
        YAML(typ="safe").load(text)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise UserError(
            f"{shown(path)}:{line}: DVC cannot read this line ({error.problem}); put values with a "
            "colon between quotes"
        ) from error
    return content


def line_of(path: Path, keys: Sequence[str | int]) -> int | None:
    """Line (from 1) at which the deepest existing key of `keys` stands."""
    node: Any = YAML(typ="rt", pure=True).load(path.read_text(encoding="utf-8"))
    line = None
    for key in keys:
        try:
            lines: Any = node.lc
            mark = lines.key(key) if isinstance(node, dict) else lines.item(key)
            line, node = mark[0] + 1, node[key]
        except (KeyError, AttributeError, IndexError, TypeError):
            break
    return line


def shown(path: Path) -> Path:
    """`path` as a user would write it from the current folder."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
