-- name: erase_payloads
-- Erase the payloads of requests. Those that may be sent again keep theirs.
WITH locked_requests AS MATERIALIZED (
    SELECT id, coalesce(erased_at, now()) AS erased_at FROM requests
    WHERE id = ANY(%(ids)s) AND payload IS NOT NULL AND status NOT IN ('queued', 'sending', 'unknown')
    ORDER BY id FOR NO KEY UPDATE
)
UPDATE requests SET payload = NULL, erased_at = locked_requests.erased_at
FROM locked_requests
WHERE requests.id = locked_requests.id

-- name: erase_responses
-- Erase what the provider responded to the attempts of requests, except for the status.
WITH locked_attempts AS MATERIALIZED (
    SELECT id FROM attempts
    WHERE request_id = ANY(%(ids)s) AND (response_headers IS NOT NULL OR response_body IS NOT NULL)
    ORDER BY request_id, number FOR NO KEY UPDATE
)
UPDATE attempts SET response_headers = NULL, response_body = NULL
WHERE id = ANY(ARRAY(SELECT locked_attempts.id FROM locked_attempts))

-- name: erase_callbacks
-- Erase the raw data of callbacks: target, headers, body, the caller's address, and the messages of errors, which may
-- quote a value.
WITH locked_callbacks AS MATERIALIZED (
    SELECT id FROM callbacks WHERE id = ANY(%(ids)s) AND erased_at IS NULL
    ORDER BY id FOR NO KEY UPDATE
)
UPDATE callbacks SET
    target = '',
    headers = '{}',
    body = CASE WHEN body IS NOT NULL THEN ''::bytea END,
    caller_address = NULL,
    errors = CASE WHEN errors IS NOT NULL THEN (
        SELECT coalesce(jsonb_object_agg(name, '["erased"]'::jsonb), '{}') FROM jsonb_object_keys(errors) AS error(name))
        END,
    erased_at = now()
WHERE id = ANY(ARRAY(SELECT locked_callbacks.id FROM locked_callbacks))

-- name: erase_requests
-- Erase what requests contain of a person: payload, metadata, detail, responses, errors, and the reasons of operators'
-- actions. Insert an action for each request of which something was erased. Requests that may be sent again stay as
-- they are. The metadata of a notification stays: it only names its request and provider.
--
-- Of the detail, the part that matches `kept_detail` stays: the audit needs it. Return the number of requests and
-- attempts that were changed.
WITH locked_requests AS MATERIALIZED (
    SELECT id, provider <> 'notify' AS has_metadata, substring(detail FROM %(kept_detail)s) AS kept_detail FROM requests
    WHERE id = ANY(%(ids)s) AND status NOT IN ('queued', 'sending', 'unknown')
    ORDER BY id FOR NO KEY UPDATE
),
erased_requests AS (
    UPDATE requests SET
        payload = NULL,
        metadata = CASE WHEN has_metadata THEN '{}' ELSE metadata END,
        detail = kept_detail,
        erased_at = now()
    FROM locked_requests
    WHERE requests.id = locked_requests.id
        AND (payload IS NOT NULL OR (has_metadata AND metadata <> '{}') OR detail IS DISTINCT FROM kept_detail)
    RETURNING requests.id, has_metadata
),
deleted_metadata AS (
    DELETE FROM request_metadata
    WHERE request_id = ANY(ARRAY(SELECT locked_requests.id FROM locked_requests WHERE has_metadata))
),
erased_attempts AS (
    UPDATE attempts SET response_headers = NULL, response_body = NULL, error = CASE WHEN error IS NOT NULL THEN 'erased' END
    WHERE request_id = ANY(ARRAY(SELECT locked_requests.id FROM locked_requests))
        AND (response_headers IS NOT NULL OR response_body IS NOT NULL OR error <> 'erased')
    RETURNING id
),
erased_actions AS (
    UPDATE actions SET reason = NULL
    WHERE subject IN (SELECT id::text FROM locked_requests) AND reason IS NOT NULL AND action <> 'erase'
),
inserted_actions AS (
    INSERT INTO actions (id, subject, action, created_at, actor, reason)
    SELECT gen_random_uuid(), id::text, 'erase', now(), %(actor)s, %(reason)s FROM erased_requests WHERE has_metadata
)
SELECT (SELECT count(*) FROM erased_requests) AS requests, (SELECT count(*) FROM erased_attempts) AS attempts

-- name: erase_jobs
-- Erase the URLs of final jobs; others are still polled at theirs.
WITH locked_jobs AS MATERIALIZED (
    SELECT id FROM jobs WHERE id = ANY(%(ids)s) AND finished_at IS NOT NULL AND location IS NOT NULL
    ORDER BY id FOR NO KEY UPDATE
)
UPDATE jobs SET location = NULL WHERE id = ANY(ARRAY(SELECT locked_jobs.id FROM locked_jobs))

-- name: erase_events
-- Erase the details of jobs' events, except for those of `actor`.
WITH locked_events AS MATERIALIZED (
    SELECT job_id, key FROM events
    WHERE job_id = ANY(%(ids)s) AND detail IS NOT NULL AND actor IS DISTINCT FROM %(actor)s
    ORDER BY job_id, key FOR NO KEY UPDATE
)
UPDATE events SET detail = NULL FROM locked_events
WHERE events.job_id = locked_events.job_id AND events.key = locked_events.key

-- name: erase_actions
-- Erase the reasons of operators' actions on subjects.
UPDATE actions SET reason = NULL
WHERE subject = ANY(ARRAY(SELECT id::text FROM unnest(%(ids)s::uuid[]) AS input(id))) AND reason IS NOT NULL

-- name: find_answers
-- Return the stored answers to the calls of clients that have created requests, at the times of these calls, or that have
-- tracked jobs.
SELECT client, key, response FROM idempotency_keys
WHERE client = ANY(%(clients)s) AND response IS NOT NULL
    AND (created_at = ANY(%(times)s) OR location = ANY(%(locations)s))
ORDER BY client, key

-- name: replace_answer
-- Replace a stored answer.
UPDATE idempotency_keys SET response = %(response)s WHERE client = %(client)s AND key = %(key)s

-- name: find_requests_by_metadata
-- Return the next requests whose metadata has a value under a key and all the pairs in `other_metadata`, of one provider
-- with its accounts or of all providers, in order of creation.
SELECT entry.created_at, entry.request_id
FROM request_metadata AS entry JOIN requests ON requests.id = entry.request_id
WHERE entry.key = %(key)s AND entry.value = %(value)s AND requests.provider <> 'notify'
    AND (entry.created_at, entry.request_id) > (%(after)s::timestamptz, %(after_id)s::uuid)
    AND (%(provider)s::text IS NULL OR %(provider)s = ANY(ARRAY[provider, split_part(provider, '/', 1)]))
    AND NOT EXISTS (
        SELECT FROM jsonb_each_text(%(other_metadata)s::jsonb) AS pair
        WHERE NOT EXISTS (
            SELECT FROM request_metadata AS other
            WHERE other.key = pair.key AND other.value = pair.value
                AND other.created_at = entry.created_at AND other.request_id = entry.request_id))
ORDER BY entry.created_at, entry.request_id LIMIT %(limit)s

-- name: find_notifications
-- Return the ids of the notifications about requests. A notification is itself a request, whose metadata names the other.
SELECT entry.request_id FROM request_metadata AS entry JOIN requests AS notification ON notification.id = entry.request_id
WHERE entry.key = 'request_id' AND entry.value = ANY(ARRAY(SELECT id::text FROM unnest(%(ids)s::uuid[]) AS input(id)))
    AND notification.provider = 'notify'

-- name: find_resendable_requests
-- Return those of the requests that may be sent again.
SELECT id FROM requests WHERE id = ANY(%(ids)s) AND status IN ('queued', 'sending', 'unknown')

-- name: find_callbacks_of_jobs
-- Return the ids of all deliveries of the callbacks that events of jobs refer to and that are not erased.
WITH original AS MATERIALIZED (
    SELECT DISTINCT callbacks.id, identity FROM events JOIN callbacks ON callbacks.id = events.callback_id
    WHERE events.job_id = ANY(%(ids)s)
)
SELECT id FROM callbacks WHERE id = ANY(ARRAY(SELECT original.id FROM original)) AND erased_at IS NULL
UNION
SELECT callbacks.id FROM original JOIN callbacks USING (identity)
WHERE verdict IN ('accepted', 'invalid', 'unmapped') AND erased_at IS NULL
UNION
SELECT callbacks.id FROM original JOIN callbacks USING (identity) WHERE verdict = 'duplicate' AND erased_at IS NULL

-- name: find_searchable_callbacks
-- Return the next callbacks of a provider with a verdict, in order of receipt, with their raw data.
SELECT received_at, id, method, target, headers, body FROM callbacks
WHERE provider = %(provider)s AND verdict = %(verdict)s AND erased_at IS NULL
    AND (received_at, id) > (%(after)s::timestamptz, %(after_id)s::uuid)
ORDER BY received_at, id LIMIT %(limit)s

-- name: read_snapshot
-- Return the oldest transaction that is running, and the first that has not begun, of those that have changed something.
SELECT pg_snapshot_xmin(snapshot)::text::bigint AS oldest, pg_snapshot_xmax(snapshot)::text::bigint AS next
FROM pg_current_snapshot() AS snapshot
