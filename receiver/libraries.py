"""Start-time checks of the libraries whose private attributes we use.

Such a library has an upper bound in `pyproject.toml`, which an installation can still override. The check turns what
would be an `AttributeError` under load, or a silent change of behaviour, into an error when the process starts. Which
attributes are needed is stated beside the code that uses them.
"""

from importlib.metadata import version

from receiver.domain.errors import ReceiverError


class UnsupportedLibrary(ReceiverError):
    """An installed library lacks a private attribute that we use; the message names the versions that have it."""


def check_attribute(library: str, supported: str, owner: object, name: str) -> None:
    """Check that `owner`, an object of a library, has the attribute `name`.

    Args:
        library: the library's name on PyPI.
        supported: the range of supported versions, such as `>=2.6,<2.7`.
        owner: a module, class or instance of the library.
        name: the attribute's name.

    Raises:
        UnsupportedLibrary: the attribute does not exist.
    """
    if not hasattr(owner, name):
        place = getattr(owner, "__name__", type(owner).__name__)
        raise UnsupportedLibrary(
            f"{library} {version(library)} is not supported: {place} has no attribute {name}. "
            f"Install {library}{supported}."
        )
