-- End attempts and move their requests on. A request is moved only by its newest attempt and only while nothing else
-- has decided it; an answer that comes after its lease ran out still counts. What may have ended a request is noted for
-- those who want to be told.
WITH told AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(%(outcomes)s::jsonb) AS t(
        attempt_id uuid, answer_status smallint, answer_headers jsonb, answer_body text, error text,
        status text, detail text, retry_in double precision, burnt boolean, ambiguous boolean)
),
ended AS (
    UPDATE attempts SET finished_at = now(), answer_status = told.answer_status,
        answer_headers = told.answer_headers, answer_body = decode(told.answer_body, 'base64'), error = told.error
    FROM told WHERE attempts.id = told.attempt_id AND attempts.finished_at IS NULL
),
moved AS (
    UPDATE requests SET
        status = told.status,
        detail = told.detail,
        due_at = CASE WHEN told.status = 'queued' THEN now() + make_interval(secs => told.retry_in) END,
        leased_until = NULL,
        finished_at = CASE WHEN told.status IN ('completed', 'rejected', 'failed') THEN now() END,
        failures = failures + (told.burnt AND attempts.finished_at IS NULL)::integer,
        ambiguous = requests.ambiguous OR told.ambiguous
    FROM told JOIN attempts ON attempts.id = told.attempt_id
    WHERE requests.id = attempts.request_id
        AND requests.attempts = attempts.number
        AND requests.status IN ('sending', 'queued', 'unknown')
    RETURNING requests.id, requests.notify_url, requests.status
)
INSERT INTO notices (request_id)
SELECT id FROM moved
WHERE notify_url IS NOT NULL AND status IN ('accepted', 'completed', 'rejected', 'failed')
