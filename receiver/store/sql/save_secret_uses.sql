-- Note when secrets last matched; an earlier time than the one known changes nothing.
INSERT INTO secret_uses AS known (provider, fingerprint, last_used_at)
SELECT provider, fingerprint, last_used_at
FROM jsonb_to_recordset(%(uses)s::jsonb) AS u(provider text, fingerprint text, last_used_at timestamptz)
ORDER BY provider, fingerprint
ON CONFLICT (provider, fingerprint) DO UPDATE SET last_used_at = excluded.last_used_at
WHERE excluded.last_used_at > known.last_used_at
