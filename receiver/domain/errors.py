"""The one base of every error this project raises on purpose, and the one error that several layers share."""


class ReceiverError(Exception):
    """Something went wrong that we can name; `str()` of it is fit for a person to read."""


class StateConflict(ReceiverError):
    """What is asked for cannot be done in the state that things are in; the message names it, and the remedy."""
