-- name: submit_requests
-- Reserve idempotency keys with their responses, wait for other transactions that are reserving the same, and insert
-- requests, all of them or none: those that exist stay as they are, and those whose idempotency key was not reserved now
-- are left out. Return the payloads and metadata of the requests that were inserted, by id. Times are by the database's
-- clock, delays in seconds. Requests can be found by those metadata values that are texts, numbers or booleans and not
-- too long.
WITH reserved_keys AS (
    INSERT INTO idempotency_keys (client, key, fingerprint, status, response, location, created_at)
    SELECT client, key, fingerprint, 202, response, location, now()
    FROM unnest(%(clients)s::text[], %(keys)s::text[], %(fingerprints)b::bytea[], %(responses)b::bytea[],
        %(locations)s::text[]) AS call(client, key, fingerprint, response, location)
    ORDER BY client, key
    ON CONFLICT (client, key) DO NOTHING
    RETURNING client, key
),
input AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(%(requests)s::jsonb) AS request(
        id uuid, provider text, operation text, payload jsonb, metadata jsonb, status text, due_at timestamptz,
        deadline_at timestamptz, deadline_after double precision, notify_url text, notify_events text[],
        client text, priority smallint, idempotency_key text, traceparent text)
),
inserted_requests AS (
    INSERT INTO requests (id, provider, operation, payload, metadata, status, created_at, due_at, deadline_at,
        notify_url, notify_events, client, priority, traceparent)
    SELECT id, provider, operation, payload, metadata, status, now(),
        CASE WHEN status = 'queued' THEN greatest(due_at, now()) END,
        coalesce(deadline_at, greatest(due_at, now()) + make_interval(secs => deadline_after)), notify_url,
        notify_events, client, priority, traceparent
    FROM input
    WHERE idempotency_key IS NULL OR (client, idempotency_key) IN (SELECT client, key FROM reserved_keys)
    ON CONFLICT (id) DO NOTHING
    RETURNING id, payload, metadata
),
inserted_metadata AS (
    INSERT INTO request_metadata (key, value, created_at, request_id)
    SELECT key, value #>> '{}', now(), id FROM inserted_requests CROSS JOIN LATERAL jsonb_each(metadata)
    WHERE jsonb_typeof(value) IN ('string', 'number', 'boolean')
        AND length(key) <= %(max_key_length)s AND length(value #>> '{}') <= %(max_value_length)s
)
SELECT coalesce(json_object_agg(id, json_build_array(payload, metadata)), '{}')::text FROM inserted_requests

-- name: find_due_requests
-- Return the providers for which a request is due and may begin now, and whether it takes a send slot. Requests of the
-- providers `likely_due` are not looked for: under load, the search passes the index entries of all requests that were
-- claimed since the last vacuum.
SELECT capacity.provider, limited FROM open_capacities(%(capacities)s::jsonb) AS capacity
WHERE (held_until IS NULL OR held_until <= now()) AND (open_until IS NULL OR open_until <= now())
    AND CASE WHEN capacity.provider = ANY(%(likely_due)s::text[]) THEN true ELSE (SELECT true FROM requests
        WHERE status = 'queued' AND requests.provider = capacity.provider AND due_at <= now() AND deadline_at > now()
        LIMIT 1) END

-- name: claim_requests
-- Lease due requests, for each provider at most its free capacity, those of the highest priority first and of these the
-- ones that are due longest, and insert an attempt of each in the same statement:
-- the attempt is committed before anything is sent. The id of an attempt follows from the id of the claim, so that the
-- attempts of a claim can be found whose reply was lost; nobody else can guess it. `leases` holds the seconds of the
-- lease by provider. See `open_capacities` for the providers that are skipped.
--
-- Each priority is read separately, so that nothing is read but what is claimed, however many requests of other
-- priorities are due or wait for a later time. The nested loop reads the priorities in the order of the series and ends
-- at the limit: no row is locked that is not claimed.
WITH due_requests AS (
    SELECT request.id, now() AS started_at, now() - request.due_at AS overdue,
        now() + make_interval(secs => (%(leases)s::jsonb ->> capacity.provider)::double precision) AS lease_ends_at,
        encode(substr(sha256(convert_to(%(claim_id)s::uuid::text || request.id::text, 'UTF8')), 1, 16),
            'hex')::uuid AS attempt_id
    FROM open_capacities(%(capacities)s::jsonb) AS capacity CROSS JOIN LATERAL (
        SELECT candidate.id, candidate.due_at
        FROM generate_series(9, 0, -1) AS level(priority) CROSS JOIN LATERAL (
            SELECT id, due_at FROM requests
            WHERE status = 'queued' AND provider = capacity.provider AND priority = level.priority
                AND due_at <= now() AND deadline_at > now()
            ORDER BY due_at, id LIMIT capacity.free
            FOR UPDATE SKIP LOCKED
        ) AS candidate
        LIMIT capacity.free
    ) AS request
),
claimed_requests AS (
    UPDATE requests SET status = 'sending', due_at = NULL, attempts = attempts + 1, leased_until = lease_ends_at
    FROM due_requests
    WHERE requests.id = due_requests.id AND requests.id = ANY(ARRAY(SELECT due_requests.id FROM due_requests))
    RETURNING requests.*, attempt_id, started_at, overdue
),
inserted_attempts AS (
    INSERT INTO attempts (id, request_id, number, started_at)
    SELECT attempt_id, id, attempts, started_at FROM claimed_requests
)
SELECT attempt_id AS id, id AS request_id, provider, operation, payload, failures, ambiguous, deadline_at,
    started_at, notify_url IS NOT NULL AS notify, notify_events,
    extract(epoch FROM overdue)::double precision AS overdue, traceparent
FROM claimed_requests
ORDER BY priority DESC, claimed_requests.overdue DESC, request_id

-- name: find_claimed_attempts
-- Return the attempts of claims whose lease has not expired and that have no outcome.
SELECT attempts.id, requests.id AS request_id, provider, operation, payload, failures, ambiguous, deadline_at,
    started_at, notify_url IS NOT NULL AS notify, notify_events, traceparent
FROM requests JOIN attempts ON attempts.request_id = requests.id AND attempts.number = requests.attempts
WHERE requests.status = 'sending' AND leased_until > now() AND attempts.finished_at IS NULL
    AND attempts.id IN (
        SELECT encode(substr(sha256(convert_to(claim.id::text || requests.id::text, 'UTF8')), 1, 16), 'hex')::uuid
        FROM unnest(%(claim_ids)s::uuid[]) AS claim(id))

-- name: lock_lost_attempts
-- Lock and return attempts whose lease has expired: their worker died or hangs.
SELECT attempts.id, requests.id AS request_id, provider, operation, payload, failures, ambiguous, deadline_at,
    started_at, notify_url IS NOT NULL AS notify, notify_events, traceparent
FROM requests JOIN attempts ON attempts.request_id = requests.id AND attempts.number = requests.attempts
WHERE requests.status = 'sending' AND leased_until < now()
ORDER BY leased_until LIMIT %(limit)s
FOR UPDATE OF requests SKIP LOCKED

-- name: record_outcomes
-- Record the outcomes of attempts and update their requests. A request is updated only by its newest attempt and only
-- while it is not decided; a response that arrives after the lease has expired still counts. Insert a notification for
-- each request that may have ended. Return the number of updated requests.
--
-- A request of which a job is known (`known_accepted`) becomes accepted where it would be queued again, unknown or
-- failed. An unknown request is looked up in `first_lookup_after` seconds, or never if that is null. Lock all the
-- requests in the global order, whether they are updated or not, because later statements of the transaction may update
-- any of them. Lock the attempts too: the sweep for lost attempts may record the same attempt at the same time, and it
-- must count once. The rows are found by arrays of ids, so that every plan uses the indexes.
WITH input AS MATERIALIZED (
    SELECT *, now() AS recorded_at, now() + make_interval(secs => retry_in) AS retry_at,
        now() + make_interval(secs => first_lookup_after) AS first_lookup_at
    FROM jsonb_to_recordset(%(outcomes)s::jsonb) AS outcome(
        attempt_id uuid, request_id uuid, response_status smallint, response_headers jsonb, response_body text,
        error text, status text, detail text, retry_in double precision, counts_as_attempt boolean, ambiguous boolean,
        first_lookup_after double precision)
),
locked_requests AS MATERIALIZED (
    SELECT id, known_accepted FROM requests WHERE id = ANY(ARRAY(SELECT input.request_id FROM input))
    ORDER BY id FOR NO KEY UPDATE
),
locked_attempts AS MATERIALIZED (
    SELECT id, number, finished_at FROM attempts WHERE id = ANY(ARRAY(SELECT input.attempt_id FROM input))
        AND (SELECT count(*) FROM locked_requests) >= 0 -- the requests first
    FOR NO KEY UPDATE
),
outcomes AS MATERIALIZED (
    SELECT input.*, number, counts_as_attempt AND finished_at IS NULL AS is_counted,
        CASE WHEN known_accepted AND (status IN ('queued', 'unknown', 'failed') OR response_status = 409)
            THEN 'accepted' ELSE status END AS new_status
    FROM input JOIN locked_attempts ON locked_attempts.id = attempt_id
        JOIN locked_requests ON locked_requests.id = request_id
),
updated_attempts AS (
    UPDATE attempts SET finished_at = recorded_at, response_status = outcome.response_status,
        response_headers = outcome.response_headers, response_body = decode(outcome.response_body, 'base64'),
        error = outcome.error
    FROM outcomes AS outcome
    WHERE attempts.id = outcome.attempt_id AND attempts.finished_at IS NULL
),
updated_requests AS (
    UPDATE requests SET
        status = new_status,
        detail = CASE WHEN new_status = 'unknown' AND first_lookup_at IS NOT NULL
            THEN coalesce(outcome.detail || '; ', '') || 'a lookup is scheduled' ELSE outcome.detail END,
        due_at = CASE WHEN new_status = 'queued' THEN retry_at END,
        leased_until = NULL,
        finished_at = CASE WHEN new_status IN ('completed', 'rejected', 'failed') THEN recorded_at END,
        failures = failures + is_counted::integer,
        ambiguous = requests.ambiguous OR outcome.ambiguous,
        next_lookup_at = CASE WHEN new_status = 'unknown' THEN first_lookup_at END,
        unknown_since = CASE WHEN new_status = 'unknown' THEN recorded_at END,
        lookup_count = 0,
        not_found = 0
    FROM outcomes AS outcome
    WHERE requests.id = outcome.request_id
        AND requests.attempts = outcome.number
        AND requests.status IN ('sending', 'queued', 'unknown')
    RETURNING requests.id, requests.notify_url, requests.status
),
notifications AS (
    INSERT INTO notification_outbox (request_id)
    SELECT id FROM updated_requests
    WHERE notify_url IS NOT NULL AND status IN ('accepted', 'completed', 'rejected', 'failed')
)
SELECT count(*) FROM updated_requests

-- name: expire_requests
-- End queued requests whose deadline has passed, and return their ids. A request that the provider may have acted on
-- becomes unknown instead of failed. `lookup_delays` holds, for each provider that supports lookups, the seconds until
-- the first lookup.
WITH locked_requests AS MATERIALIZED (
    SELECT id, now() AS expired_at,
        now() + make_interval(secs => (%(lookup_delays)s::jsonb ->> provider)::double precision) AS first_lookup_at
    FROM requests WHERE status = 'queued' AND deadline_at <= now()
    ORDER BY deadline_at LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
),
expired_requests AS (
    UPDATE requests SET
        status = CASE WHEN ambiguous THEN 'unknown' ELSE 'failed' END,
        detail = 'deadline passed' || coalesce('; last: ' || detail, '')
            || CASE WHEN ambiguous AND first_lookup_at IS NOT NULL THEN '; a lookup is scheduled' ELSE '' END,
        due_at = NULL,
        finished_at = CASE WHEN NOT ambiguous THEN expired_at END,
        next_lookup_at = CASE WHEN ambiguous THEN first_lookup_at END,
        unknown_since = CASE WHEN ambiguous THEN expired_at END,
        lookup_count = 0,
        not_found = 0
    FROM locked_requests
    WHERE requests.id = locked_requests.id AND requests.id = ANY(ARRAY(SELECT locked_requests.id FROM locked_requests))
    RETURNING requests.id, notify_url, finished_at
),
notifications AS (
    INSERT INTO notification_outbox (request_id)
    SELECT id FROM expired_requests WHERE notify_url IS NOT NULL AND finished_at IS NOT NULL
)
SELECT id FROM expired_requests

-- name: find_requests
-- Return the requests with these ids in order of submission.
SELECT id, provider, operation, payload, metadata, status, detail, created_at, due_at, deadline_at, finished_at,
    notify_url, notify_events, client, erased_at, priority, conflict_deadline_at IS NOT NULL AS reference_conflict,
    traceparent
FROM requests WHERE id = ANY(%(ids)s) ORDER BY created_at, id

-- name: find_request_details
-- Return the requests with these ids, each with its attempts, at most `max_jobs` of its jobs in order of acceptance (null
-- means all), and the actions on it, oldest first. The attempts have their responses only if `with_responses` is true.
SELECT id, provider, operation, payload, metadata, status, detail, created_at, due_at, deadline_at, finished_at,
    notify_url, notify_events, client, erased_at, priority, conflict_deadline_at IS NOT NULL AS reference_conflict,
    traceparent,
    ARRAY(SELECT ROW(number, started_at, finished_at, response_status, error,
            CASE WHEN %(with_responses)s::boolean THEN response_headers END,
            CASE WHEN %(with_responses)s::boolean THEN response_body END)
        FROM attempts WHERE request_id = request.id ORDER BY number) AS attempts,
    ARRAY(SELECT ROW(id, provider, reference, request_id, status, disputed, accepted_at, finished_at, deadline_at, false)
        FROM jobs WHERE request_id = request.id ORDER BY accepted_at, id LIMIT %(max_jobs)s::bigint) AS jobs,
    ARRAY(SELECT ROW(created_at, actor, action, reason)
        FROM actions WHERE subject = request.id::text ORDER BY created_at, id) AS actions
FROM requests AS request WHERE id = ANY(%(ids)s) ORDER BY created_at, id

-- name: list_requests
-- Return a page of requests, newest first. Each provider, operation and status is read separately, see list_jobs.
SELECT request.id, request.provider, request.operation, payload, metadata, request.status, detail, created_at, due_at,
    deadline_at, finished_at, notify_url, notify_events, client, erased_at, priority,
    conflict_deadline_at IS NOT NULL AS reference_conflict
FROM (
    SELECT item.id, item.sort_time
    FROM operations_with_requests AS source
    CROSS JOIN unnest(%(statuses)s::text[]) AS candidate(status)
    CROSS JOIN LATERAL (
        SELECT id, created_at AS sort_time
        FROM requests
        WHERE provider = source.provider AND operation = source.operation AND status = candidate.status
            AND (%(client)s::text IS NULL OR client = %(client)s AND provider <> 'notify')
            AND (%(before)s::timestamptz IS NULL OR (created_at, id) < (%(before)s, %(before_id)s::uuid))
            AND (%(created_from)s::timestamptz IS NULL OR created_at >= %(created_from)s)
            AND (%(created_to)s::timestamptz IS NULL OR created_at < %(created_to)s)
            AND (%(reference_conflict)s::boolean IS NULL
                OR (conflict_deadline_at IS NOT NULL) = %(reference_conflict)s)
        ORDER BY created_at DESC, id DESC LIMIT %(limit)s
    ) AS item
    WHERE (%(providers)s::text[] IS NULL OR ARRAY[source.provider, split_part(source.provider, '/', 1)] && %(providers)s::text[])
        AND (%(operation)s::text IS NULL OR source.operation = %(operation)s)
    ORDER BY sort_time DESC, id DESC LIMIT %(limit)s
) AS page JOIN requests AS request ON request.id = page.id
ORDER BY sort_time DESC, request.id DESC

-- name: list_requests_by_metadata
-- Return a page of the requests whose metadata has a value under a key, and all the pairs in `other_metadata`, newest
-- first. Do not prepare the statement: a frequent value with a rare status is read along the index of the statuses.
SELECT requests.id, provider, operation, payload, metadata, status, detail, requests.created_at, due_at, deadline_at,
    finished_at, notify_url, notify_events, client, erased_at, priority,
    conflict_deadline_at IS NOT NULL AS reference_conflict
FROM request_metadata AS entry JOIN requests ON requests.id = entry.request_id
WHERE entry.key = %(key)s AND entry.value = %(value)s
    AND (%(before)s::timestamptz IS NULL OR (entry.created_at, entry.request_id) < (%(before)s, %(before_id)s::uuid))
    AND (%(created_from)s::timestamptz IS NULL OR entry.created_at >= %(created_from)s)
    AND (%(created_to)s::timestamptz IS NULL OR entry.created_at < %(created_to)s)
    AND status = ANY(%(statuses)s::text[])
    AND (%(providers)s::text[] IS NULL OR ARRAY[provider, split_part(provider, '/', 1)] && %(providers)s::text[])
    AND (%(operation)s::text IS NULL OR operation = %(operation)s)
    AND (%(reference_conflict)s::boolean IS NULL OR (conflict_deadline_at IS NOT NULL) = %(reference_conflict)s)
    AND (%(client)s::text IS NULL OR client = %(client)s AND provider <> 'notify')
    AND (%(other_metadata)s::jsonb IS NULL OR NOT EXISTS (
        SELECT FROM jsonb_each_text(%(other_metadata)s) AS pair
        WHERE NOT EXISTS (
            SELECT FROM request_metadata AS other
            WHERE other.key = pair.key AND other.value = pair.value
                AND other.created_at = entry.created_at AND other.request_id = entry.request_id)))
ORDER BY entry.created_at DESC, entry.request_id DESC LIMIT %(limit)s

-- name: find_rarest_metadata
-- Return the one of several metadata keys whose value finds the fewest requests. Counting stops at `max_count`, so that
-- more frequent values all count the same.
SELECT key FROM jsonb_each_text(%(metadata)s::jsonb) AS pair(key, value)
ORDER BY (
    SELECT count(*)
    FROM (
        SELECT FROM request_metadata WHERE key = pair.key AND value = pair.value LIMIT %(max_count)s
    ) AS request)
LIMIT 1

-- name: cancel_requests
-- Cancel those of the requests that are queued, and return their ids. A request that the provider may have acted on in an
-- earlier attempt becomes unknown instead. `lookup_delays` holds, for each provider that supports lookups, the seconds
-- until the first lookup.
WITH locked_requests AS MATERIALIZED (
    SELECT id, now() AS cancelled_at,
        now() + make_interval(secs => (%(lookup_delays)s::jsonb ->> provider)::double precision) AS first_lookup_at
    FROM requests WHERE id = ANY(%(ids)s) AND status = 'queued' ORDER BY id FOR NO KEY UPDATE
),
cancelled_requests AS (
    UPDATE requests SET
        status = CASE WHEN ambiguous THEN 'unknown' ELSE 'cancelled' END,
        detail = CASE WHEN NOT ambiguous THEN 'cancelled'
            ELSE 'cancelled, but the provider may have acted on an earlier attempt'
                || CASE WHEN first_lookup_at IS NOT NULL THEN '; a lookup is scheduled' ELSE '' END END,
        due_at = NULL,
        finished_at = CASE WHEN NOT ambiguous THEN cancelled_at END,
        next_lookup_at = CASE WHEN ambiguous THEN first_lookup_at END,
        unknown_since = CASE WHEN ambiguous THEN cancelled_at END,
        lookup_count = 0,
        not_found = 0
    FROM locked_requests
    WHERE requests.id = locked_requests.id
    RETURNING requests.id, notify_url, finished_at
),
notifications AS (
    INSERT INTO notification_outbox (request_id)
    SELECT id FROM cancelled_requests WHERE notify_url IS NOT NULL AND finished_at IS NOT NULL
)
SELECT id FROM cancelled_requests

-- name: retry_requests
-- Queue those of the requests again that were not accepted and whose payloads are not erased, with the full number of
-- attempts, and return their ids; a deadline that has passed is replaced. A request stays ambiguous, and an unknown request becomes so: the provider may
-- have acted on an earlier attempt. `deadlines` holds the seconds until the new deadline by provider; requests of other
-- providers stay as they are.
WITH locked_requests AS MATERIALIZED (
    SELECT id, now() AS retried_at,
        now() + make_interval(secs => (%(deadlines)s::jsonb ->> provider)::double precision) AS next_deadline_at
    FROM requests
    WHERE id = ANY(%(ids)s) AND status IN ('rejected', 'failed', 'unknown', 'cancelled') AND payload IS NOT NULL
        AND %(deadlines)s::jsonb ? provider
    ORDER BY id FOR NO KEY UPDATE
)
UPDATE requests SET
    status = 'queued',
    detail = NULL,
    failures = 0,
    ambiguous = ambiguous OR status = 'unknown',
    due_at = retried_at,
    deadline_at = CASE WHEN deadline_at > retried_at THEN deadline_at ELSE next_deadline_at END,
    finished_at = NULL,
    known_accepted = false,
    next_lookup_at = NULL
FROM locked_requests
WHERE requests.id = locked_requests.id
RETURNING requests.id

-- name: send_requests_now
-- Make those of the requests that are queued due now. Requests that are due already keep their place. Return their ids.
WITH locked_requests AS MATERIALIZED (
    SELECT id FROM requests WHERE id = ANY(%(ids)s) AND status = 'queued' ORDER BY id FOR NO KEY UPDATE
)
UPDATE requests SET due_at = least(due_at, now())
WHERE id = ANY(ARRAY(SELECT locked_requests.id FROM locked_requests))
RETURNING id
