-- name: find_callback
-- Return one callback. A duplicate has the body of the first delivery, and its target and headers where they were too
-- large to be stored again.
SELECT callback.id, callback.identity, provider, received_at, verdict, method,
    coalesce(nullif(callback.target, ''), original.target, '') AS target,
    coalesce(original.headers, '{}') || callback.headers AS headers,
    errors, coalesce(verified, verdict <> 'refused') AS verified, secret_fingerprint,
    coalesce(callback.body, original.body, '') AS body
FROM callbacks AS callback LEFT JOIN LATERAL (
    SELECT target, headers, body FROM callbacks AS first_delivery
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
    WHERE %(providers)s::text[] IS NULL OR source.provider = ANY(%(providers)s::text[])
    ORDER BY sort_time DESC, id DESC LIMIT %(limit)s
) AS page JOIN callbacks AS callback ON callback.id = page.id
ORDER BY sort_time DESC, callback.id DESC

-- name: find_first_delivery
-- Return the delivery that a duplicate repeats, which holds its body.
SELECT original.id FROM callbacks AS duplicate JOIN callbacks AS original
    ON original.identity = duplicate.identity AND original.verdict IN ('accepted', 'invalid', 'unmapped')
WHERE duplicate.id = %(id)s AND duplicate.verdict = 'duplicate' ORDER BY original.received_at LIMIT 1

-- name: update_callback
-- Store the new identity and verdict of a callback that was parsed again, and the new identity of its duplicates. If
-- another delivery of the same callback already has that verdict, the callback becomes a duplicate of it.
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
WHERE callbacks.id = %(id)s

-- name: save_refused
-- Insert refused callbacks, and delete all but the newest `max_per_provider` of each provider.
WITH inserted_callbacks AS (
    INSERT INTO callbacks (id, identity, provider, received_at, verdict, method, target, headers, body, errors,
        verified)
    SELECT id, identity, provider, received_at, verdict, method, target, headers, decode(body, 'base64'), errors, false
    FROM jsonb_to_recordset(%(callbacks)s::jsonb) AS input(
        id uuid, identity uuid, provider text, received_at timestamptz, verdict text, method text, target text,
        headers jsonb, body text, errors jsonb)
    RETURNING provider
)
DELETE FROM callbacks WHERE id IN (
    SELECT surplus.id FROM (SELECT DISTINCT provider FROM inserted_callbacks) AS source CROSS JOIN LATERAL (
        SELECT id FROM callbacks WHERE provider = source.provider AND verdict = 'refused'
        ORDER BY received_at DESC OFFSET %(max_per_provider)s
    ) AS surplus
)

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
