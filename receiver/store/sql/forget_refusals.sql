-- Delete the refusals of a worker's credentials that were lifted when another worker took over, so that the credentials
-- are tried again. A worker that starts with the credentials tries them at once: they were configured again. A worker
-- that still has them tries them `retry_after` seconds after the lift, because the other worker may be gone, but not
-- while the provider is paused by another refusal.
WITH input AS (
    SELECT * FROM jsonb_to_recordset(%(credentials)s::jsonb) AS credential(provider text, fingerprint text)
)
DELETE FROM refused_credentials AS refusal USING input
WHERE refusal.provider = input.provider AND refusal.fingerprint = input.fingerprint AND refusal.lifted_at IS NOT NULL
    AND (%(starting)s OR refusal.lifted_at < now() - make_interval(secs => %(retry_after)s) AND NOT EXISTS (
        SELECT FROM refused_credentials AS other WHERE other.provider = input.provider AND other.lifted_at IS NULL))
