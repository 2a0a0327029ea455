-- Let credentials be tried again that were refused before others took over: at once by a worker that starts with them,
-- as they were put back; and after `after` seconds by one that still has them, as those others may be gone. The latter
-- not while the provider is paused anyway.
WITH mine AS (
    SELECT * FROM jsonb_to_recordset(%(mine)s::jsonb) AS m(provider text, fingerprint text)
)
DELETE FROM refused_credentials AS refused USING mine
WHERE refused.provider = mine.provider AND refused.fingerprint = mine.fingerprint AND refused.lifted_at IS NOT NULL
    AND (%(starting)s OR refused.lifted_at < now() - make_interval(secs => %(after)s) AND NOT EXISTS (
        SELECT FROM refused_credentials AS other WHERE other.provider = mine.provider AND other.lifted_at IS NULL))
