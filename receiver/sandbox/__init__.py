"""A provider that misbehaves on purpose, as its own process, with a ledger of what is true.

`receiver demo` and the chaos tests run it beside the real thing and compare its ledger with Postgres.
"""
