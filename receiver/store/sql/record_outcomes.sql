-- End attempts and move their requests on. A request is moved only by its newest attempt and only while nothing else
-- has decided it; an answer that comes after its lease ran out still counts. What may have ended a request is noted for
-- those who want to be told. Gives how many requests were moved.
--
-- A request of which a job is known already (`known_accepted`) is accepted where it would be sent again or left in doubt. One
-- that is unknown is asked about in `first_lookup_after` seconds; null where the provider cannot be asked. All requests are locked,
-- sorted, whether they are moved or not: the statements that follow in the transaction may touch any of them. So are
-- the attempts, as the sweep may judge one at this moment for lost, which then counts once.
WITH told AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(%(outcomes)s::jsonb) AS t(
        attempt_id uuid, response_status smallint, response_headers jsonb, response_body text, error text,
        status text, detail text, retry_in double precision, counts_as_attempt boolean, ambiguous boolean,
        first_lookup_after double precision)
),
locked AS MATERIALIZED (
    SELECT requests.id, told.detail, retry_in, first_lookup_after, told.ambiguous,
        attempts.number, counts_as_attempt AND attempts.finished_at IS NULL AS counts_as_attempt,
        CASE WHEN requests.known_accepted AND (told.status IN ('queued', 'unknown', 'failed') OR told.response_status = 409)
            THEN 'accepted' ELSE told.status END AS becomes
    FROM told JOIN attempts ON attempts.id = told.attempt_id JOIN requests ON requests.id = attempts.request_id
    ORDER BY requests.id
    FOR NO KEY UPDATE OF requests, attempts
),
ended AS (
    UPDATE attempts SET finished_at = now(), response_status = told.response_status,
        response_headers = told.response_headers, response_body = decode(told.response_body, 'base64'), error = told.error
    FROM told WHERE attempts.id = told.attempt_id AND attempts.finished_at IS NULL
),
moved AS (
    UPDATE requests SET
        status = locked.becomes,
        detail = CASE WHEN becomes = 'unknown' AND first_lookup_after IS NOT NULL
            THEN concat_ws('; ', locked.detail, 'its provider is asked about it') ELSE locked.detail END,
        due_at = CASE WHEN becomes = 'queued' THEN now() + make_interval(secs => retry_in) END,
        leased_until = NULL,
        finished_at = CASE WHEN becomes IN ('completed', 'rejected', 'failed') THEN now() END,
        failures = failures + locked.counts_as_attempt::integer,
        ambiguous = requests.ambiguous OR locked.ambiguous,
        next_lookup_at = CASE WHEN becomes = 'unknown' THEN now() + make_interval(secs => first_lookup_after) END,
        unknown_since = CASE WHEN becomes = 'unknown' THEN now() END,
        lookup_count = 0,
        not_found = 0
    FROM locked
    WHERE requests.id = locked.id
        AND requests.attempts = locked.number
        AND requests.status IN ('sending', 'queued', 'unknown')
    RETURNING requests.id, requests.notify_url, requests.status
),
noted AS (
    INSERT INTO notification_outbox (request_id)
    SELECT id FROM moved
    WHERE notify_url IS NOT NULL AND status IN ('accepted', 'completed', 'rejected', 'failed')
)
SELECT count(*) FROM moved
