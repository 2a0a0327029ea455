-- name: find_callback
-- Return one callback. A duplicate has the body of the first delivery, and its target and headers where they were too
-- large to be stored again.
SELECT callback.id, callback.identity, provider, received_at, verdict, method,
    coalesce(nullif(callback.target, ''), original.target, '') AS target,
    coalesce(original.headers, '{}') || callback.headers AS headers,
    errors, coalesce(verified, verdict <> 'refused') AS verified, secret_fingerprint, caller_address,
    coalesce(callback.body, original.body, '') AS body, coalesce(callback.erased_at, original.erased_at) AS erased_at
FROM callbacks AS callback LEFT JOIN LATERAL (
    SELECT target, headers, body, erased_at FROM callbacks AS first_delivery
    WHERE callback.verdict = 'duplicate' AND first_delivery.identity = callback.identity
        AND first_delivery.verdict IN ('accepted', 'invalid', 'unmapped')
    LIMIT 1
) AS original ON true
WHERE callback.id = %(id)s

-- name: list_callbacks
-- Return a page of callbacks, newest first. Each provider and verdict is read separately, see list_jobs.
SELECT callback.id, callback.provider, received_at, callback.verdict, method, errors
FROM (
    SELECT item.id, item.sort_time
    FROM providers_with_callbacks AS source
    CROSS JOIN unnest(%(verdicts)s::text[]) AS candidate(verdict)
    CROSS JOIN LATERAL (
        SELECT id, received_at AS sort_time
        FROM callbacks
        WHERE provider = source.provider AND verdict = candidate.verdict
            AND (%(before)s::timestamptz IS NULL OR (received_at, id) < (%(before)s, %(before_id)s::uuid))
            AND (%(received_from)s::timestamptz IS NULL OR received_at >= %(received_from)s)
            AND (%(received_to)s::timestamptz IS NULL OR received_at < %(received_to)s)
        ORDER BY received_at DESC, id DESC LIMIT %(limit)s
    ) AS item
    WHERE %(providers)s::text[] IS NULL OR ARRAY[source.provider, split_part(source.provider, '/', 1)] && %(providers)s::text[]
    ORDER BY sort_time DESC, id DESC LIMIT %(limit)s
) AS page JOIN callbacks AS callback ON callback.id = page.id
ORDER BY sort_time DESC, callback.id DESC

-- name: find_first_delivery
-- Return the delivery that a duplicate repeats, which holds its body.
SELECT original.id FROM callbacks AS duplicate JOIN callbacks AS original
    ON original.identity = duplicate.identity AND original.verdict IN ('accepted', 'invalid', 'unmapped')
WHERE duplicate.id = %(id)s AND duplicate.verdict = 'duplicate' ORDER BY original.received_at LIMIT 1

-- name: find_deliveries
-- Return the provider of a callback and the ids of all its deliveries. Any of these may have stored the events. A
-- refused callback is a delivery of its own.
SELECT provider, ARRAY(
    SELECT callback.id
    UNION
    SELECT other.id FROM callbacks AS other
    WHERE other.identity = callback.identity AND other.verdict IN ('accepted', 'invalid', 'unmapped')
        AND callback.verdict <> 'refused'
    UNION
    SELECT other.id FROM callbacks AS other
    WHERE other.identity = callback.identity AND other.verdict = 'duplicate' AND callback.verdict <> 'refused'
) AS ids
FROM callbacks AS callback WHERE id = %(id)s

-- name: list_deliveries
-- Return deliveries of a callback, first to last.
SELECT id, received_at, verdict FROM callbacks WHERE id = ANY(%(ids)s::uuid[]) ORDER BY received_at, id LIMIT %(limit)s

-- name: update_callback
-- Store the new identity and verdict of a callback that was parsed again, and the new identity of its duplicates. If
-- another delivery of the same callback already has that verdict, the callback becomes a duplicate of it. A callback
-- that was erased in the meantime stays as it is.
WITH previous AS (
    SELECT identity, verdict FROM callbacks WHERE id = %(id)s
),
updated_duplicates AS (
    UPDATE callbacks SET identity = %(identity)s FROM previous
    WHERE callbacks.identity = previous.identity AND callbacks.verdict = 'duplicate' AND previous.verdict <> 'refused'
        AND previous.identity <> %(identity)s
)
UPDATE callbacks SET
    identity = %(identity)s,
    verdict = CASE WHEN original.id IS NULL THEN %(verdict)s ELSE 'duplicate' END,
    errors = CASE WHEN original.id IS NULL THEN %(errors)s::jsonb END,
    body = CASE WHEN original.id IS NULL THEN callbacks.body END,
    verified = true,
    secret_fingerprint = %(secret_fingerprint)s
FROM (SELECT 1) AS singleton LEFT JOIN callbacks AS original
    ON original.identity = %(identity)s AND original.verdict = %(verdict)s AND original.id <> %(id)s
WHERE callbacks.id = %(id)s AND callbacks.erased_at IS NULL

-- name: save_refused
-- Insert refused callbacks.
INSERT INTO callbacks (id, identity, provider, received_at, verdict, method, target, headers, body, errors, verified,
    caller_address, is_plausible, form)
SELECT id, identity, provider, received_at, verdict, method, target, headers, decode(body, 'base64'), errors, false,
    caller_address, is_plausible, form
FROM jsonb_to_recordset(%(callbacks)s::jsonb) AS input(
    id uuid, identity uuid, provider text, received_at timestamptz, verdict text, method text, target text,
    headers jsonb, body text, errors jsonb, caller_address text, is_plausible boolean, form text)

-- name: find_samples
-- Return what decides which refused callbacks of a provider stay.
SELECT id, received_at, coalesce(is_plausible, false) AS is_plausible, coalesce(caller_address, '') AS caller,
    coalesce(form, '') AS form, length(body) + pg_column_size(headers) + length(target) AS size
FROM callbacks WHERE provider = %(provider)s AND verdict = 'refused'

-- name: delete_samples
-- Delete refused callbacks, unless they were accepted in the meantime.
DELETE FROM callbacks WHERE id = ANY(%(ids)s) AND verdict = 'refused'

-- name: save_refusals
-- Count refused callbacks by provider, hour, reason and caller. In an hour, at most `max_callers` callers of a provider
-- are counted by themselves. Delete the counts of earlier days. Add the callbacks to the activity of their minutes: of
-- refused callbacks, only a sample is stored.
WITH input AS (
    SELECT refusal.*, date_trunc('hour', last_at) AS hour
    FROM jsonb_to_recordset(%(refusals)s::jsonb) AS refusal(
        provider text, reason text, caller_address text, count bigint, last_at timestamptz)
),
deleted_refusals AS (
    DELETE FROM callback_refusals WHERE hour < now() - interval '2 days'
),
counted_activity AS (
    INSERT INTO activity AS total (seconds, started_at, provider, kind, outcome, bucket, count)
    SELECT 60, date_trunc('minute', last_at, 'UTC') AS minute, provider, 'callbacks', 'refused', 0, sum(count)
    FROM input GROUP BY minute, provider ORDER BY minute, provider
    ON CONFLICT (seconds, started_at, provider, kind, outcome, bucket) DO UPDATE SET
        count = total.count + excluded.count
),
counted_refusals AS (
    SELECT provider, hour, reason,
        CASE WHEN (
            SELECT count(*) FROM callback_refusals AS other
            WHERE other.provider = input.provider AND other.hour = input.hour) < %(max_callers)s
            OR EXISTS (
                SELECT FROM callback_refusals AS existing
                WHERE existing.provider = input.provider AND existing.hour = input.hour
                    AND existing.reason = input.reason AND existing.caller_address = input.caller_address)
            THEN caller_address ELSE '' END AS caller_address, count, last_at
    FROM input
)
INSERT INTO callback_refusals AS refusal (provider, hour, reason, caller_address, count, last_at)
SELECT provider, hour, reason, caller_address, sum(count), max(last_at) FROM counted_refusals
GROUP BY provider, hour, reason, caller_address ORDER BY provider, hour, reason, caller_address
ON CONFLICT (provider, hour, reason, caller_address) DO UPDATE SET
    count = refusal.count + excluded.count,
    last_at = greatest(refusal.last_at, excluded.last_at)

-- name: withdraw_refusal
-- Take a refused callback that was accepted since out of the counts, those of its caller or of many callers together.
WITH counted AS MATERIALIZED (
    SELECT caller_address, count FROM callback_refusals
    WHERE provider = %(provider)s AND hour = date_trunc('hour', %(last_at)s::timestamptz) AND reason = %(reason)s
        AND caller_address IN (%(caller_address)s, '')
    ORDER BY caller_address DESC LIMIT 1
    FOR UPDATE
),
deleted_refusals AS (
    DELETE FROM callback_refusals USING counted
    WHERE provider = %(provider)s AND hour = date_trunc('hour', %(last_at)s::timestamptz) AND reason = %(reason)s
        AND callback_refusals.caller_address = counted.caller_address AND counted.count = 1
)
UPDATE callback_refusals AS refusal SET count = refusal.count - 1 FROM counted
WHERE provider = %(provider)s AND hour = date_trunc('hour', %(last_at)s::timestamptz) AND reason = %(reason)s
    AND refusal.caller_address = counted.caller_address AND counted.count > 1

-- name: count_refusals
-- Return how many callbacks of each of the named providers were refused in the last day and not accepted since.
SELECT provider, sum(count)::bigint FROM callback_refusals
WHERE provider = ANY(%(names)s::text[]) AND hour > now() - interval '1 day' GROUP BY provider

-- name: list_refusals
-- Return for each of the named providers who was refused in the last day and why, without what was accepted since, the
-- most frequent first, at most `limit` of each provider.
SELECT provider.name AS provider, refusal.reason, refusal.caller_address, refusal.count, refusal.last_at
FROM unnest(%(names)s::text[]) AS provider(name) CROSS JOIN LATERAL (
    SELECT reason, caller_address, sum(count)::bigint AS count, max(last_at) AS last_at FROM callback_refusals
    WHERE callback_refusals.provider = provider.name AND hour > now() - interval '1 day'
    GROUP BY reason, caller_address ORDER BY count DESC, last_at DESC LIMIT %(limit)s
) AS refusal
ORDER BY provider.name, refusal.count DESC, refusal.last_at DESC

-- name: save_secret_uses
-- Store when secrets last matched. A time that is earlier than the stored time changes nothing.
INSERT INTO secret_uses AS secret (provider, fingerprint, last_used_at)
SELECT provider, fingerprint, last_used_at
FROM jsonb_to_recordset(%(uses)s::jsonb) AS input(provider text, fingerprint text, last_used_at timestamptz)
ORDER BY provider, fingerprint
ON CONFLICT (provider, fingerprint) DO UPDATE SET last_used_at = excluded.last_used_at
WHERE excluded.last_used_at > secret.last_used_at

-- name: list_secret_uses
-- Return when each secret last matched.
SELECT provider, fingerprint, last_used_at FROM secret_uses ORDER BY provider, last_used_at DESC
