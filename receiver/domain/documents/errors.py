"""The error of documents."""

from receiver.domain.errors import ReceiverError


class UnreadableDocument(ReceiverError):
    """A body cannot be read as its kind; the message says why, in a sentence that quotes nothing of the body."""
