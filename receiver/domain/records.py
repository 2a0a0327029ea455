"""Dataclasses of which the hot paths create several for each callback or request.

Python sets each field of a frozen dataclass by a call, which takes three times as long as an assignment.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

__all__ = ["record"]

T = TypeVar("T")

if TYPE_CHECKING:
    from dataclasses import dataclass as record
else:

    def record(*, frozen: bool, slots: bool) -> Callable[[type[T]], type[T]]:
        """Declare a dataclass that only the type checker treats as frozen."""
        if not frozen:
            raise ValueError("A record is declared frozen.")
        return dataclass(slots=slots, unsafe_hash=True)
