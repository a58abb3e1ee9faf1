"""The two kinds of failure: the user's (exit code 2) and ours (exit code 1)."""


class WeirError(Exception):
    """A failure with a message of one line; anything else that escapes is a defect of ours."""

    exit_code = 1


class UserError(WeirError):
    """Bad input: the message says what is wrong, where, and how to mend it."""

    exit_code = 2
