"""A provider that misbehaves on purpose, as a separate process, with a ledger of the expected results.

`receiver demo` and the chaos tests run it beside the service and compare its ledger with Postgres.
"""
