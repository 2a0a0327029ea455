-- Insert an API key, identified by its hash.
INSERT INTO api_keys (id, client, name, hash, prefix, scopes, providers, per_minute, created_at, expires_at)
VALUES (%(id)s, %(client)s, %(name)s, %(hash)s, %(prefix)s, %(scopes)s, %(providers)s, %(per_minute)s, now(),
    %(expires_at)s)
