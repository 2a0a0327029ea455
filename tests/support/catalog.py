"""Catalog entries for tests: one that no vendor changes, with changes, and some of the package."""

from importlib.resources import files

from receiver.providers import catalog
from receiver.providers.catalog.entries import CatalogEntry, list_entries, load_entry, parse_entry

_FIRST_BY_FIELD = {load_entry(name).field: name for name in reversed(list_entries())}
_LARGEST = max(list_entries(), key=lambda name: len((files(catalog) / f"{name}.toml").read_bytes()))
SAMPLE = sorted({*_FIRST_BY_FIELD.values(), _LARGEST})
"""An entry of each field and the largest one, for tests that would take too long with all."""

ACME = """
title = "Acme Messages"
field = "sms"
documentation = ["https://acme.example/docs"]
notes = ["Register a sender first."]
left_out = ["Prices."]

[parameters.account]
title = "Account, from the console"
example = "A1"

[parameters.region]
title = "Region"
default = "eu"

[parameters.token]
title = "Auth token; it signs callbacks too"
secret = true
example = "an-example-token"

[verified]
submit = "vendor"
response = "vendor"
callback = "vendor"
signature = "vendor"
poll = "secondary"

[provider]
base_url = "https://${region}.acme.example/v1/${account}"
auth = { scheme = "basic", secret = "${account}:${token}" }

[provider.operations.send]
path = "/messages"
required = ["to"]
callback_url = "callback"
idempotency_header = "Idempotency-Key"

[provider.response]
reference = "id"
code = "state"
codes = { queued = "accepted" }

[provider.callback]
reference = "id"
status = "state"

[provider.callback.statuses]
queued = "in_progress"
delivered = "succeeded"
lost = "failed"

[provider.signature]
scheme = "github"
secrets = ["${token}"]

[provider.poll]
path = "/messages/{reference}"

[examples]
reference = "M1"
payloads.send = { to = "+2348030000001", text = "It's 1234" }

[[examples.responses]]
body = '{"id": "${reference}", "state": "queued"}'

[[examples.callbacks]]
body = '{"id": "${reference}", "state": "${status}"}'

[[examples.polls]]
body = '{"id": "${reference}", "state": "${status}"}'
"""


def parse_acme(*changes: tuple[str, str]) -> CatalogEntry:
    """Return the entry `acme` with each old text of its file replaced by a new one."""
    text = ACME
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return parse_entry("acme", text)
