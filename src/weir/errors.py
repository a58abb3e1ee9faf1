"""The two kinds of failure, the user's (exit code 2) and Weir's own (exit code 1), and hints."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class WeirError(Exception):
    """A failure with a message of one line; anything else that escapes is a defect of ours."""

    exit_code = 1


class UserError(WeirError):
    """Bad input: the message says what is wrong, where, and how to fix it."""

    exit_code = 2


class Repairable(UserError):
    """Bad input that Weir can repair, which a setting allows.

    Attributes:
        what: what is wrong and where; the message's first half.
        advice: how to fix it; the second half.
        setting: the setting of the dataset that allows the repair.
        value: what it is set to for that.
    """

    def __init__(self, what: str, advice: str, setting: str, value: str) -> None:
        super().__init__(what, advice, setting, value)
        self.what, self.advice, self.setting, self.value = what, advice, setting, value

    def __str__(self) -> str:
        return f"{self.what}; {self.advice}"


def suggest(word: str, known: Iterable[object]) -> str:
    """ "did you mean ...?" for the nearest known word, else the known words."""
    words = [str(item) for item in known]
    close = get_close_matches(str(word), words, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    if not words:
        return "there is none yet"
    listed = ", ".join(words[:12]) + (", ..." if len(words) > 12 else "")
    return f"known: {listed}"
