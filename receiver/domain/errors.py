"""The one base of every error this project raises on purpose."""


class ReceiverError(Exception):
    """Something went wrong that we can name; `str()` of it is fit for a person to read."""
