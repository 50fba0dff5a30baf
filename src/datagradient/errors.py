"""The one exception that the command line shows as a single line instead of a traceback."""


class UserError(Exception):
    """Something the user can mend. The message names the file, key or sample at fault and what to do."""
