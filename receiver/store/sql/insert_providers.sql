-- Have a row for each provider, for what all workers agree on about it.
INSERT INTO providers (name) SELECT unnest(%(names)s::text[]) ORDER BY 1 ON CONFLICT (name) DO NOTHING
