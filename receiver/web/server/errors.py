"""Why a connection is cut, and the error that says so where its request is read."""

from enum import StrEnum


class CutReason(StrEnum):
    """Why a connection is cut; the value is the label in the metrics."""

    IDLE = "idle"
    HEADER_TIMEOUT = "header_timeout"
    BODY_TIMEOUT = "body_timeout"
    RESPONSE_TIMEOUT = "response_timeout"
    OUT_OF_MEMORY = "out_of_memory"
    TOO_MANY = "too_many"
    TOO_MANY_FROM_ADDRESS = "too_many_from_address"
    STOPPING = "stopping"

    @property
    def is_timeout(self) -> bool:
        return self in {CutReason.HEADER_TIMEOUT, CutReason.BODY_TIMEOUT, CutReason.RESPONSE_TIMEOUT}


class RequestCut(Exception):
    """A request is given up before it was complete."""

    def __init__(self, reason: CutReason) -> None:
        super().__init__(f"The request was given up: {reason}.")
        self.reason = reason
