-- Record the outcomes of attempts and update their requests. A request is updated only by its newest attempt and only
-- while it is not decided; a response that arrives after the lease has expired still counts. Insert a notification for
-- each request that may have ended. Return the number of updated requests.
--
-- A request of which a job is known (`known_accepted`) becomes accepted where it would be queued again, unknown or
-- failed. An unknown request is looked up in `first_lookup_after` seconds, or never if that is null. Lock all the
-- requests in the global order, whether they are updated or not, because later statements of the transaction may update
-- any of them. Lock the attempts too: the sweep for lost attempts may record the same attempt at the same time, and it
-- must count once.
WITH input AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(%(outcomes)s::jsonb) AS outcome(
        attempt_id uuid, response_status smallint, response_headers jsonb, response_body text, error text,
        status text, detail text, retry_in double precision, counts_as_attempt boolean, ambiguous boolean,
        first_lookup_after double precision)
),
locked_requests AS MATERIALIZED (
    SELECT requests.id, input.detail, retry_in, first_lookup_after, input.ambiguous,
        attempts.number, counts_as_attempt AND attempts.finished_at IS NULL AS counts_as_attempt,
        CASE WHEN requests.known_accepted
                AND (input.status IN ('queued', 'unknown', 'failed') OR input.response_status = 409)
            THEN 'accepted' ELSE input.status END AS new_status
    FROM input JOIN attempts ON attempts.id = input.attempt_id JOIN requests ON requests.id = attempts.request_id
    ORDER BY requests.id
    FOR NO KEY UPDATE OF requests, attempts
),
updated_attempts AS (
    UPDATE attempts SET finished_at = now(), response_status = input.response_status,
        response_headers = input.response_headers, response_body = decode(input.response_body, 'base64'),
        error = input.error
    FROM input WHERE attempts.id = input.attempt_id AND attempts.finished_at IS NULL
),
updated_requests AS (
    UPDATE requests SET
        status = outcome.new_status,
        detail = CASE WHEN new_status = 'unknown' AND first_lookup_after IS NOT NULL
            THEN concat_ws('; ', outcome.detail, 'a lookup is scheduled') ELSE outcome.detail END,
        due_at = CASE WHEN new_status = 'queued' THEN now() + make_interval(secs => retry_in) END,
        leased_until = NULL,
        finished_at = CASE WHEN new_status IN ('completed', 'rejected', 'failed') THEN now() END,
        failures = failures + outcome.counts_as_attempt::integer,
        ambiguous = requests.ambiguous OR outcome.ambiguous,
        next_lookup_at = CASE WHEN new_status = 'unknown' THEN now() + make_interval(secs => first_lookup_after) END,
        unknown_since = CASE WHEN new_status = 'unknown' THEN now() END,
        lookup_count = 0,
        not_found = 0
    FROM locked_requests AS outcome
    WHERE requests.id = outcome.id
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
