"""What runs measured, apart from what they found, on the page: times, commits, machines.

The page without them is the same for equal results, whenever and wherever these were made, and so
it can be an output that is hashed. They lie in a script beside it, which the page loads if it is
there; in a clone, or where the page was sent alone, they are shown as missing.
"""

from __future__ import annotations

import json
import re

HERE, ELSE, END = "<!--measured-->", "<!--else-->", "<!--/measured-->"
"""Around what was measured, and what is shown where that is not known."""
BLOCK = "<!--measured block-->"
"""In place of `HERE` around what is more than words of a line."""
SOURCE = 'data-measured-by=""'
"""In the page, the place of the script's address."""

_PART = re.compile(
    f"({re.escape(HERE)}|{re.escape(BLOCK)})(.*?){re.escape(ELSE)}(.*?){re.escape(END)}", re.DOTALL
)


def measured(text: str, otherwise: str) -> str:
    """HTML that holds something measured, and what stands for it where that is not known."""
    return f"{BLOCK}{text}{ELSE}{otherwise}{END}"


def whole(page: str) -> str:
    """The page with everything in it, which needs no other file."""
    return _PART.sub(lambda part: part[2], page)


def without(page: str, source: str = "") -> str:
    """The page without what was measured.

    Args:
        page: as rendered.
        source: address of the script that knows it, relative to the page.
    """
    numbers = iter(range(len(_PART.findall(page))))

    def placeholder(part: re.Match[str]) -> str:
        tag = "div" if part[1] == BLOCK else "span"
        return f'<{tag} data-measured="{next(numbers)}">{part[3]}</{tag}>'

    return _PART.sub(placeholder, page).replace(SOURCE, f'{SOURCE[:-1]}{source}"', 1)


def script(page: str) -> str:
    """The script with which `without` becomes `whole` when it is shown."""
    # Nothing in it may end the script, should somebody put it into a page.
    parts = json.dumps([part[2] for part in _PART.finditer(page)]).replace("</", "<\\/")
    return f"measured({parts});\n"
