-- Store of jobs what their events prove. A job that is final is polled no more. That one of a request whose client wants
-- to be told is final is noted.
WITH mended AS (
    UPDATE jobs SET
        status = told.status,
        precedence = told.precedence,
        disputed = told.disputed,
        decided_at = told.decided_at,
        decided_position = told.decided_position,
        decided_by = told.decided_by,
        accepted_at = told.accepted_at,
        finished_at = told.finished_at,
        request_id = told.request_id,
        notify = EXISTS (SELECT FROM requests WHERE requests.id = told.request_id AND notify_url IS NOT NULL),
        poll_at = CASE WHEN told.finished_at IS NULL THEN poll_at END
    FROM jsonb_to_recordset(%(jobs)s::jsonb) AS told(
        id uuid, status text, precedence smallint, disputed boolean, decided_at timestamptz, decided_position integer, decided_by uuid,
        accepted_at timestamptz, finished_at timestamptz, request_id uuid)
    WHERE jobs.id = told.id
    RETURNING jobs.request_id, jobs.notify, jobs.finished_at
)
INSERT INTO notification_outbox (request_id) SELECT DISTINCT request_id FROM mended WHERE notify AND finished_at IS NOT NULL
