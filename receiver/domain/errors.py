"""The base class of all errors that this project raises on purpose, and the error that several layers share."""


class ReceiverError(Exception):
    """A named failure; `str()` of it is a message for people."""


class StateConflict(ReceiverError):
    """The current state does not allow the requested action; the message names the state and the remedy."""
