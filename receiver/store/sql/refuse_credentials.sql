-- Keep that providers refused credentials, and give those that were not known to be refused. Where a worker with others
-- has taken over, a late refusal of the old ones changes nothing.
INSERT INTO refused_credentials (provider, fingerprint, refused_at, reason)
SELECT provider, fingerprint, now(), min(reason)
FROM jsonb_to_recordset(%(refusals)s::jsonb) AS told(provider text, fingerprint text, reason text)
GROUP BY provider, fingerprint ORDER BY provider, fingerprint
ON CONFLICT DO NOTHING
RETURNING provider, fingerprint, reason
