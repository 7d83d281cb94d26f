"""The exceptions whose message is all that a user of the command line sees."""


class InvalidInput(ValueError):
    """Something the user gave is wrong: the message names the rule, the value and the way out.

    The command line prints the message alone and exits with code 2; a traceback is shown only for faults of the program.
    """


class NothingFound(InvalidInput):
    """What was asked for is understood and does not exist, such as a network within limits; exit code 1."""


class CheckFailed(Exception):
    """What was made does not hold what it must, and was thrown away; exit code 1."""
