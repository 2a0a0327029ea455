-- name: find_due_lookups
-- Return the providers for which a lookup is due and may begin now, and whether it takes a send slot.
SELECT capacity.provider, limited FROM open_capacities(%(capacities)s::jsonb) AS capacity
WHERE (held_until IS NULL OR held_until <= now()) AND (open_until IS NULL OR open_until <= now())
    AND EXISTS (SELECT FROM requests WHERE requests.provider = capacity.provider AND next_lookup_at <= now())

-- name: claim_lookups
-- Lease unknown requests that are due for a lookup, for each provider for its seconds in `leases` and at most its free
-- capacity. The end of the lease is the time of the next lookup, should this worker die; the result of this lookup
-- replaces it. See `open_capacities` for the providers that are skipped.
WITH due_requests AS (
    SELECT request.id, now() AS claimed_at,
        now() + make_interval(secs => (%(leases)s::jsonb ->> capacity.provider)::double precision) AS lease_ends_at
    FROM open_capacities(%(capacities)s::jsonb) AS capacity CROSS JOIN LATERAL (
        SELECT id FROM requests WHERE provider = capacity.provider AND next_lookup_at <= now()
        ORDER BY next_lookup_at LIMIT capacity.free
        FOR UPDATE SKIP LOCKED
    ) AS request
)
UPDATE requests SET next_lookup_at = lease_ends_at, lookup_count = lookup_count + 1
FROM due_requests
WHERE requests.id = due_requests.id AND requests.id = ANY(ARRAY(SELECT due_requests.id FROM due_requests))
RETURNING requests.id, provider, operation, payload, failures, lookup_count, not_found, unknown_since, deadline_at,
    notify_url IS NOT NULL AS notify, notify_events, claimed_at AS at

-- name: resume_lookups
-- Schedule lookups of requests that became unknown while their provider did not support lookups. `lookup_delays` holds,
-- for each provider that supports lookups now, the seconds until the first lookup.
WITH locked_requests AS MATERIALIZED (
    SELECT requests.id, now() AS resumed_at,
        now() + make_interval(secs => (%(lookup_delays)s::jsonb ->> provider)::double precision) AS first_lookup_at
    FROM operations_with_requests AS source JOIN requests USING (provider, operation)
    WHERE %(lookup_delays)s::jsonb ? source.provider AND status = 'unknown' AND next_lookup_at IS NULL
        AND lookup_count = 0
    FOR UPDATE OF requests SKIP LOCKED
)
UPDATE requests SET
    next_lookup_at = first_lookup_at,
    unknown_since = resumed_at,
    detail = coalesce(detail || '; ', '') || 'a lookup is scheduled'
FROM locked_requests
WHERE requests.id = locked_requests.id AND requests.id = ANY(ARRAY(SELECT locked_requests.id FROM locked_requests))

-- name: record_lookup_results
-- Record the results of lookups: settle unknown requests, or schedule the next lookup in `next_in` seconds; null ends
-- the lookups. A request is updated only while it is unknown and no newer lookup was claimed. Lock all the requests in
-- the global order, whether they are updated or not. Insert a notification for each request that is settled. Return the
-- updated requests.
WITH input AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(%(results)s::jsonb) AS result(
        id uuid, lookup_count integer, unknown_since timestamptz, status text, detail text, next_in double precision,
        absent boolean)
),
locked_requests AS MATERIALIZED (
    SELECT input.*, now() AS recorded_at, now() + make_interval(secs => next_in) AS next_at
    FROM input JOIN requests USING (id)
    WHERE requests.id = ANY(ARRAY(SELECT input.id FROM input))
    ORDER BY requests.id FOR NO KEY UPDATE OF requests
),
updated_requests AS (
    UPDATE requests SET
        status = result.status,
        detail = coalesce(requests.detail || '; ' || result.detail, requests.detail, result.detail),
        next_lookup_at = CASE WHEN result.status = 'unknown' THEN next_at END,
        due_at = CASE WHEN result.status = 'queued' THEN recorded_at END,
        finished_at = CASE WHEN result.status IN ('completed', 'rejected', 'failed') THEN recorded_at END,
        not_found = requests.not_found + absent::integer
    FROM locked_requests AS result
    WHERE requests.id = result.id AND requests.id = ANY(ARRAY(SELECT input.id FROM input))
        AND requests.status = 'unknown' AND requests.lookup_count = result.lookup_count
        AND requests.unknown_since = result.unknown_since
    RETURNING requests.id, requests.notify_url, requests.status
),
notifications AS (
    INSERT INTO notification_outbox (request_id)
    SELECT id FROM updated_requests WHERE notify_url IS NOT NULL AND status NOT IN ('unknown', 'queued')
)
SELECT id FROM updated_requests

-- name: resolve_hints
-- Return the requests that hints name, by the id of an attempt or else by the request's own id, if they belong to the
-- hint's provider, and what their clients are to be notified of.
WITH input AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(%(hints)s::jsonb) AS hint(provider text, request_id uuid, attempt_id uuid)
),
resolved_hints AS MATERIALIZED (
    SELECT input.*, coalesce(attempt.request_id, input.request_id) AS resolved_id
    FROM input LEFT JOIN (
        SELECT id, request_id FROM attempts WHERE id = ANY(ARRAY(SELECT attempt_id FROM input))
    ) AS attempt ON attempt.id = input.attempt_id
)
SELECT hint.provider, hint.request_id, hint.attempt_id, requests.id, notify_url IS NOT NULL, notify_events
FROM resolved_hints AS hint JOIN requests ON requests.id = hint.resolved_id AND requests.provider = hint.provider
WHERE requests.id = ANY(ARRAY(SELECT resolved_id FROM resolved_hints))

-- name: lock_undecided_requests
-- Lock those of the requests that are not decided yet, in the global order, and return their ids.
SELECT id FROM requests WHERE id = ANY(%(ids)s) AND status IN ('queued', 'sending', 'unknown')
ORDER BY id FOR NO KEY UPDATE

-- name: accept_known_requests
-- Accept requests of which a job is known: unknown requests, and requests that wait for another attempt after a failed
-- one. A request that is being sent keeps its status; its `known_accepted` decides when the response is recorded. The
-- rows are locked already. Insert a notification for each request that may have ended.
WITH accepted_requests AS (
    UPDATE requests SET
        status = CASE WHEN status = 'sending' THEN 'sending' ELSE 'accepted' END,
        detail = CASE WHEN status = 'sending' THEN detail
            ELSE coalesce(detail || '; ', '') || 'accepted: one of its jobs is known' END,
        due_at = NULL,
        next_lookup_at = NULL,
        known_accepted = true
    WHERE id = ANY(%(ids)s)
        AND (status IN ('sending', 'unknown') OR (status = 'queued' AND attempts > 0 AND (ambiguous OR failures > 0)))
    RETURNING id, notify_url, status
)
INSERT INTO notification_outbox (request_id)
SELECT id FROM accepted_requests WHERE notify_url IS NOT NULL AND status = 'accepted'

-- name: resolve_requests
-- Set the status of those of the requests that are unknown or have a reference conflict, as an operator decided, and
-- insert a notification for each. Return their ids.
WITH locked_requests AS MATERIALIZED (
    SELECT id, CASE WHEN %(status)s <> 'accepted' THEN now() END AS resolved_at
    FROM requests WHERE id = ANY(%(ids)s) AND (status = 'unknown' OR conflict_deadline_at IS NOT NULL)
    ORDER BY id FOR NO KEY UPDATE
),
resolved_requests AS (
    UPDATE requests SET
        status = %(status)s,
        detail = %(detail)s,
        next_lookup_at = NULL,
        finished_at = resolved_at,
        conflict_deadline_at = NULL
    FROM locked_requests
    WHERE requests.id = locked_requests.id
    RETURNING requests.id, notify_url
),
notifications AS (
    INSERT INTO notification_outbox (request_id) SELECT id FROM resolved_requests WHERE notify_url IS NOT NULL
)
SELECT id FROM resolved_requests
