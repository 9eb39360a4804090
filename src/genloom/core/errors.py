"""The errors a person may see. Each message is one sentence or two: what is wrong, where, what to do."""


class GenloomError(Exception):
    """Something failed although the input was good (exit code 1)."""

    exit_code = 1


class InputError(GenloomError):
    """What the person gave cannot be used: a path, a setting, a file (exit code 2)."""

    exit_code = 2


class Unreadable(GenloomError):
    """One item of a data set cannot be read; it is quarantined with this reason and the others go on."""


class Interrupted(GenloomError):
    """Training was stopped by a signal after a checkpoint was written (exit code 128 + signal)."""

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal
