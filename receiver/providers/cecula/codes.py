"""Cecula's response codes: what each means for a recipient, and the advice that Cecula's pages give for it.

A request is retried only for a code that goes away without anybody's action. Every other refusal is final, and the
client decides when to submit a new request.
"""

from collections.abc import Mapping
from types import MappingProxyType

from receiver.domain.sending import ItemStatus

CodeMeaning = tuple[ItemStatus, str]

_REFUSED = ItemStatus.REJECTED

# https://app.cecula.com/docs/responses/sms-broadcast.html
BROADCAST_CODES: Mapping[str, CodeMeaning] = MappingProxyType(
    {
        "1801": (
            ItemStatus.ACCEPTED,
            "Message received and being processed; its delivery reports carry the id returned.",
        ),
        "1804": (_REFUSED, "Insufficient balance. Top up the DartPro SMS balance."),
        "1806": (_REFUSED, "Invalid recipients. Each mobile number must be correctly formatted."),
        "1807": (_REFUSED, "Invalid sender name. It must be a valid string no longer than 11 characters."),
        "1808": (_REFUSED, "The text exceeds 7 pages (1071 ASCII characters). Shorten it."),
        "1809": (_REFUSED, "The text is empty. Populate it."),
        "1902": (_REFUSED, "Invalid schedule time: broadcastTime is before the current time."),
        "1903": (_REFUSED, "Invalid broadcast time. Use the format YYYY-MM-DD hh:mm:ss, e.g. 2023-11-01 16:24:00."),
        "4001": (_REFUSED, "The sender name is missing. Add an approved sender name (identity)."),
        "4002": (_REFUSED, "The sender name is not registered. Register it in DartPro > Identities."),
        "4003": (
            _REFUSED,
            "The sender name is rejected. Try another or reapply with the telecom provider.",
        ),
        # Cecula's "wait" is for a review by people at the telecom provider, which outlasts every retry: sending again
        # within seconds changes nothing, and a broadcast that is sent a day later may be unwanted by then.
        "4004": (_REFUSED, "The sender name is under review. Wait, and contact support if it takes long."),
        "6000": (_REFUSED, "The template field is empty. Include the template."),
        "6001": (_REFUSED, "The template was not found. Check the template ID."),
        "6002": (_REFUSED, "Recipients were not submitted. Add the recipients field."),
    }
)

# From the official clients of the legacy API, https://api.cecula.com.
LEGACY_CODES: Mapping[str, CodeMeaning] = MappingProxyType(
    {
        **BROADCAST_CODES,
        "CE1001": (_REFUSED, "Missing fields."),
        "CE1002": (_REFUSED, "Empty fields."),
        "CE1003": (_REFUSED, "The origin is longer than 11 characters."),
        "CE1004": (_REFUSED, "An A2P origin must be alphabets or alphanumeric."),
        "CE1005": (_REFUSED, "The message is longer than 10 pages."),
        "CE1007": (_REFUSED, "The identity is not on Sync Cloud."),
        "CE1008": (_REFUSED, "The origin is pending verification."),
        "CE1009": (_REFUSED, "The account is unbound."),
        "CE1010": (_REFUSED, "A numeric originator has 5 to 16 digits."),
        "CE1011": (_REFUSED, "A P2P originator must be numeric."),
        "CE1012": (_REFUSED, "The origin is not verified."),
        # An app that is offline comes back by itself, and the error means that nothing was sent.
        "CE1013": (ItemStatus.RETRY, "The Sync app is offline."),
    }
)


def interpret_code(codes: Mapping[str, CodeMeaning], code: str | None) -> CodeMeaning:
    """Return the meaning of a code; `UNKNOWN` for an undocumented code and for None, a response without a code."""
    if code is None:
        return ItemStatus.UNKNOWN, "The response has no code."
    return codes.get(code, (ItemStatus.UNKNOWN, "This code is not documented."))
