-- End attempts and move their requests on. A request is moved only by its newest attempt and only while nothing else
-- has decided it; an answer that comes after its lease ran out still counts. What may have ended a request is noted for
-- those who want to be told. Gives how many requests were moved.
--
-- A request of which a job is known already (`taken`) is accepted where it would be sent again or left in doubt. One
-- that is unknown is asked about in `ask_in` seconds; null where the provider cannot be asked. All requests are locked,
-- sorted, whether they are moved or not: the statements that follow in the transaction may touch any of them. So are
-- the attempts, as the sweep may judge one at this moment for lost, which then counts once.
WITH told AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(%(outcomes)s::jsonb) AS t(
        attempt_id uuid, answer_status smallint, answer_headers jsonb, answer_body text, error text,
        status text, detail text, retry_in double precision, burnt boolean, ambiguous boolean,
        ask_in double precision)
),
locked AS MATERIALIZED (
    SELECT requests.id, told.detail, retry_in, ask_in, told.ambiguous,
        attempts.number, burnt AND attempts.finished_at IS NULL AS burnt,
        CASE WHEN requests.taken AND (told.status IN ('queued', 'unknown', 'failed') OR told.answer_status = 409)
            THEN 'accepted' ELSE told.status END AS becomes
    FROM told JOIN attempts ON attempts.id = told.attempt_id JOIN requests ON requests.id = attempts.request_id
    ORDER BY requests.id
    FOR NO KEY UPDATE OF requests, attempts
),
ended AS (
    UPDATE attempts SET finished_at = now(), answer_status = told.answer_status,
        answer_headers = told.answer_headers, answer_body = decode(told.answer_body, 'base64'), error = told.error
    FROM told WHERE attempts.id = told.attempt_id AND attempts.finished_at IS NULL
),
moved AS (
    UPDATE requests SET
        status = locked.becomes,
        detail = CASE WHEN becomes = 'unknown' AND ask_in IS NOT NULL
            THEN concat_ws('; ', locked.detail, 'its provider is asked about it') ELSE locked.detail END,
        due_at = CASE WHEN becomes = 'queued' THEN now() + make_interval(secs => retry_in) END,
        leased_until = NULL,
        finished_at = CASE WHEN becomes IN ('completed', 'rejected', 'failed') THEN now() END,
        failures = failures + locked.burnt::integer,
        ambiguous = requests.ambiguous OR locked.ambiguous,
        ask_at = CASE WHEN becomes = 'unknown' THEN now() + make_interval(secs => ask_in) END,
        doubted_at = CASE WHEN becomes = 'unknown' THEN now() END,
        asked = 0,
        not_found = 0
    FROM locked
    WHERE requests.id = locked.id
        AND requests.attempts = locked.number
        AND requests.status IN ('sending', 'queued', 'unknown')
    RETURNING requests.id, requests.notify_url, requests.status
),
noted AS (
    INSERT INTO notices (request_id)
    SELECT id FROM moved
    WHERE notify_url IS NOT NULL AND status IN ('accepted', 'completed', 'rejected', 'failed')
)
SELECT count(*) FROM moved
