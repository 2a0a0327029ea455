-- Insert refusals of credentials and return those that are new. After another worker has taken over, a late refusal of
-- the old credentials changes nothing.
INSERT INTO refused_credentials (provider, fingerprint, refused_at, reason)
SELECT provider, fingerprint, now(), min(reason)
FROM jsonb_to_recordset(%(refusals)s::jsonb) AS refusal(provider text, fingerprint text, reason text)
GROUP BY provider, fingerprint ORDER BY provider, fingerprint
ON CONFLICT DO NOTHING
RETURNING provider, fingerprint, reason
