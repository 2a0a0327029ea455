-- Keep a new API key, by its hash.
INSERT INTO api_keys (id, name, hash, prefix, scopes, providers, per_minute, created_at, expires_at)
VALUES (%(id)s, %(name)s, %(hash)s, %(prefix)s, %(scopes)s, %(providers)s, %(per_minute)s, now(), %(expires_at)s)
