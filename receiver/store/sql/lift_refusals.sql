-- Take over from those whose credentials were refused, with others that were not, and give the providers. Of several
-- workers that would, one does.
WITH mine AS (
    SELECT * FROM jsonb_to_recordset(%(mine)s::jsonb) AS m(provider text, fingerprint text)
),
found AS (
    SELECT refused.provider, refused.fingerprint FROM refused_credentials AS refused JOIN mine USING (provider)
    WHERE refused.lifted_at IS NULL AND refused.fingerprint <> mine.fingerprint AND NOT EXISTS (
        SELECT FROM refused_credentials AS own
        WHERE own.provider = mine.provider AND own.fingerprint = mine.fingerprint)
    FOR UPDATE OF refused SKIP LOCKED
)
UPDATE refused_credentials AS refused SET lifted_at = now() FROM found
WHERE refused.provider = found.provider AND refused.fingerprint = found.fingerprint
RETURNING refused.provider
