"""Parameters that are signed in sorted order: those of a form or the query, or the members of a JSON object or of XML.

Providers differ in how names and values are joined, and in what they leave out, see `SortedParameters`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from receiver.domain.callbacks import FORM_MEDIA_TYPE
from receiver.domain.documents.xml_documents import XmlDocument
from receiver.signatures.base import InvalidSignature
from receiver.signatures.sources import VerificationContext, encode_scalar, parse_parameters

PARAMETER_SOURCES = ("form", "query", "json", "xml")


@dataclass(frozen=True, slots=True)
class SortedParameters:
    """How parameters are joined to one text: sorted by name and value, each distinct pair once.

    Args:
        source: one of `PARAMETER_SOURCES`. The members of a JSON object, or of XML's root element, must be texts,
            numbers, true, false or null.
        assignment: between the name and the value of a parameter.
        separator: between parameters.
        exclude: the names of parameters that are not signed, such as the signature's own.
        skip_empty: whether parameters with an empty value are not signed.
        replacement: what stands in the signed text in place of each `assignment` and `separator` within a value; "" if
            values are signed as they are.
    """

    source: str = "form"
    assignment: str = ""
    separator: str = ""
    exclude: Sequence[str] = ()
    skip_empty: bool = False
    replacement: str = ""

    def join(self, context: VerificationContext) -> bytes:
        """Return the signed text.

        Raises:
            InvalidSignature: the callback has no such parameters, or they cannot be signed.
        """
        excluded = frozenset(name.encode() for name in self.exclude)
        assignment = self.assignment.encode()
        pairs = sorted(set(self._read(context, excluded)))
        return self.separator.encode().join(
            [name + assignment + self._replace(value) for name, value in pairs if value or not self.skip_empty]
        )

    def _read(self, context: VerificationContext, excluded: frozenset[bytes]) -> list[tuple[bytes, bytes]]:
        if self.source in {"json", "xml"}:
            return _read_members(context, excluded)
        encoded = context.callback.query if self.source == "query" else _read_form(context)
        return [(name, value) for name, value in parse_parameters(encoded) if name not in excluded]

    def _replace(self, value: bytes) -> bytes:
        if self.replacement:
            for text in (self.assignment, self.separator):
                value = value.replace(text.encode(), self.replacement.encode()) if text else value
        return value


def _read_form(context: VerificationContext) -> str:
    callback = context.callback
    # A body that is signed as a form must not be read as something else. What is in the middle of a value could be a
    # part of a multipart body.
    is_form = context.body_kind == "form" and not callback.media_type.startswith("multipart/")
    if callback.body and not is_form and callback.media_type != FORM_MEDIA_TYPE:
        raise InvalidSignature("body", "The body is malformed: it is not the form whose parameters are signed.")
    return callback.body.decode("latin-1")


def _read_members(context: VerificationContext, excluded: frozenset[bytes]) -> list[tuple[bytes, bytes]]:
    document = context.read_document()
    if isinstance(document, XmlDocument):
        document = document.root
    if not isinstance(document, dict):
        raise InvalidSignature("body", "The body is malformed: it is not the object whose members are signed.")
    members = [(encode_scalar(name, name), name, value) for name, value in document.items()]
    return [(key, encode_scalar(value, name)) for key, name, value in members if key not in excluded]
