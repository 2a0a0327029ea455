-- Insert a row for each provider that has none.
INSERT INTO providers (name) SELECT unnest(%(names)s::text[]) ORDER BY 1 ON CONFLICT (name) DO NOTHING
