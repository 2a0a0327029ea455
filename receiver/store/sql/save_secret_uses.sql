-- Store when secrets last matched. A time that is earlier than the stored time changes nothing.
INSERT INTO secret_uses AS secret (provider, fingerprint, last_used_at)
SELECT provider, fingerprint, last_used_at
FROM jsonb_to_recordset(%(uses)s::jsonb) AS input(provider text, fingerprint text, last_used_at timestamptz)
ORDER BY provider, fingerprint
ON CONFLICT (provider, fingerprint) DO UPDATE SET last_used_at = excluded.last_used_at
WHERE excluded.last_used_at > secret.last_used_at
