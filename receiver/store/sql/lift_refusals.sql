-- Lift the refusals of other credentials of the providers for which the worker has credentials that were not refused,
-- and return the providers. Of several workers that could, only one lifts a refusal.
WITH input AS (
    SELECT * FROM jsonb_to_recordset(%(credentials)s::jsonb) AS credential(provider text, fingerprint text)
),
locked_refusals AS (
    SELECT refusal.provider, refusal.fingerprint FROM refused_credentials AS refusal JOIN input USING (provider)
    WHERE refusal.lifted_at IS NULL AND refusal.fingerprint <> input.fingerprint AND NOT EXISTS (
        SELECT FROM refused_credentials AS own
        WHERE own.provider = input.provider AND own.fingerprint = input.fingerprint)
    FOR UPDATE OF refusal SKIP LOCKED
)
UPDATE refused_credentials AS refusal SET lifted_at = now() FROM locked_refusals
WHERE refusal.provider = locked_refusals.provider AND refusal.fingerprint = locked_refusals.fingerprint
RETURNING refusal.provider
