-- name: pause_providers
-- Pause providers until an operator resumes them. An existing pause keeps its time and reason.
INSERT INTO providers (name, paused_at, pause_reason)
SELECT name, now(), %(reason)s FROM unnest(%(names)s::text[]) AS provider(name) ORDER BY name
ON CONFLICT (name) DO UPDATE SET paused_at = excluded.paused_at, pause_reason = excluded.pause_reason
WHERE providers.paused_at IS NULL

-- name: resume_providers
-- End the pauses of providers. Lock their rows in the order in which every transaction locks them.
UPDATE providers SET paused_at = NULL, pause_reason = NULL WHERE name = ANY(ARRAY(
    SELECT name FROM providers WHERE name = ANY(%(names)s::text[]) ORDER BY name FOR NO KEY UPDATE))

-- name: delete_refusals
-- Delete all refusals of providers, so that all credentials are tried again.
DELETE FROM refused_credentials WHERE provider = ANY(%(names)s::text[])

-- name: find_pauses
-- Return the paused providers with the time, reason and cause of the pause: an operator, or a refusal of the
-- credentials of all workers that send to the provider.
SELECT DISTINCT ON (name) name, paused_at, pause_reason, pause_cause
FROM (
    SELECT name, paused_at, pause_reason, 'operator' AS pause_cause FROM providers WHERE paused_at IS NOT NULL
    UNION ALL
    SELECT provider, refused_at, reason, 'credentials' FROM refused_credentials WHERE lifted_at IS NULL
) AS pause
ORDER BY name, pause_cause DESC, paused_at

-- name: refuse_credentials
-- Insert refusals of credentials and return those that are new. After another worker has taken over, a late refusal of
-- the old credentials changes nothing.
INSERT INTO refused_credentials (provider, fingerprint, refused_at, reason)
SELECT provider, fingerprint, now(), min(reason)
FROM jsonb_to_recordset(%(refusals)s::jsonb) AS refusal(provider text, fingerprint text, reason text)
GROUP BY provider, fingerprint ORDER BY provider, fingerprint
ON CONFLICT DO NOTHING
RETURNING provider, fingerprint, reason

-- name: copy_refusals
-- Insert the current refusals of credentials by a former fingerprint also by their fingerprint. The former ones remain
-- for workers that do not have the new key yet.
INSERT INTO refused_credentials (provider, fingerprint, refused_at, reason)
SELECT provider, input.fingerprint, refusal.refused_at, refusal.reason
FROM jsonb_to_recordset(%(credentials)s::jsonb)
    AS input(provider text, fingerprint text, former_fingerprints text[])
JOIN refused_credentials AS refusal USING (provider)
WHERE refusal.fingerprint = ANY(input.former_fingerprints) AND refusal.lifted_at IS NULL
ORDER BY provider, input.fingerprint
ON CONFLICT DO NOTHING

-- name: forget_refusals
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

-- name: lift_refusals
-- Lift the refusals of other credentials of the providers for which the worker has credentials that were not refused,
-- and return the providers that are sent to again: not those that an operator paused. Of several workers that could,
-- only one lifts a refusal.
WITH input AS (
    SELECT * FROM jsonb_to_recordset(%(credentials)s::jsonb) AS credential(provider text, fingerprint text)
),
locked_refusals AS (
    SELECT refusal.provider, refusal.fingerprint FROM refused_credentials AS refusal JOIN input USING (provider)
    WHERE refusal.lifted_at IS NULL AND refusal.fingerprint <> input.fingerprint AND NOT EXISTS (
        SELECT FROM refused_credentials AS own
        WHERE own.provider = input.provider AND own.fingerprint = input.fingerprint)
    FOR UPDATE OF refusal SKIP LOCKED
),
lifted_refusals AS (
    UPDATE refused_credentials AS refusal SET lifted_at = now() FROM locked_refusals
    WHERE refusal.provider = locked_refusals.provider AND refusal.fingerprint = locked_refusals.fingerprint
    RETURNING refusal.provider
)
SELECT DISTINCT provider FROM lifted_refusals
WHERE NOT EXISTS (SELECT FROM providers WHERE name = provider AND paused_at IS NOT NULL)

-- name: insert_providers
-- Insert a row for each provider that has none.
INSERT INTO providers (name) SELECT unnest(%(names)s::text[]) ORDER BY 1 ON CONFLICT (name) DO NOTHING

-- name: find_limits
-- Return the limits of providers, and the current time.
SELECT name AS provider, rate, full_rate, rate_changed_at, held_until, next_slot_at, failures, consecutive_openings,
    open_until, probing, clock_timestamp() AS now
FROM providers WHERE name = ANY(%(names)s::text[])

-- name: lock_limits
-- Lock the limits of providers, in the order in which every transaction locks them, and return them with the current
-- time. The time is read when all rows are locked, which the window function ensures: a transaction that waited for a
-- lock must not use the time from before. All workers wait for these locks. Therefore a worker that hangs loses them,
-- with its transaction, after 5 seconds, which is sooner than in other transactions.
WITH locked_limits AS MATERIALIZED (
    SELECT name AS provider, rate, full_rate, rate_changed_at, held_until, next_slot_at, failures, consecutive_openings,
        open_until, probing
    FROM providers WHERE name = ANY(%(names)s::text[]) ORDER BY name FOR NO KEY UPDATE
),
counted_limits AS MATERIALIZED (SELECT *, count(*) OVER () FROM locked_limits),
timeout AS MATERIALIZED (SELECT set_config('idle_in_transaction_session_timeout', '5s', true))
SELECT provider, rate, full_rate, rate_changed_at, held_until, next_slot_at, failures, consecutive_openings, open_until,
    probing, clock_timestamp() AS now
FROM counted_limits CROSS JOIN timeout ORDER BY provider

-- name: save_limits
-- Store the limits of providers, whose rows are locked already.
UPDATE providers SET rate = input.rate, full_rate = input.full_rate, rate_changed_at = input.rate_changed_at,
    held_until = input.held_until, next_slot_at = input.next_slot_at, failures = input.failures,
    consecutive_openings = input.consecutive_openings, open_until = input.open_until, probing = input.probing
FROM jsonb_to_recordset(%(limits)s::jsonb) AS input(
    provider text, rate double precision, full_rate double precision, rate_changed_at timestamptz,
    held_until timestamptz, next_slot_at timestamptz, failures integer, consecutive_openings integer,
    open_until timestamptz, probing boolean)
WHERE name = input.provider

-- name: renew_shares
-- Insert or renew a worker's shares for `lease` seconds, and delete the shares of workers that no longer renew them.
WITH input AS (
    SELECT provider, slots FROM jsonb_to_recordset(%(shares)s::jsonb) AS share(provider text, slots integer)
),
deleted_shares AS (
    DELETE FROM concurrency_shares AS share USING input
    WHERE share.provider = input.provider AND worker_id <> %(worker_id)s AND expires_at <= now()
)
INSERT INTO concurrency_shares AS share (provider, worker_id, slots, expires_at)
SELECT provider, %(worker_id)s, slots, now() + make_interval(secs => %(lease)s) FROM input
ON CONFLICT (provider, worker_id) DO UPDATE SET slots = excluded.slots, expires_at = excluded.expires_at

-- name: find_other_shares
-- Return for each provider the number of other workers and the total of their slots.
SELECT provider, count(*)::integer AS workers, sum(slots)::integer AS slots FROM concurrency_shares
WHERE provider = ANY(%(names)s::text[]) AND worker_id <> %(worker_id)s AND expires_at > now()
GROUP BY provider

-- name: count_workers
-- Return how many workers hold a share of any provider that has not expired.
SELECT count(DISTINCT worker_id) FROM concurrency_shares WHERE expires_at > now()

-- name: delete_shares
-- Delete all shares of a worker.
DELETE FROM concurrency_shares WHERE worker_id = %(worker_id)s
