"""`store`: Postgres, a pooler, a proxy or our own processes fail while requests and callbacks arrive.

Each run has a Postgres, a service and a provider of its own, and one fault or two. Afterwards everything that was
acknowledged must be stored, the provider's ledger must agree with Postgres, and everything must have ended.
"""
