-- Store the state of jobs that their events prove. Stop polling final jobs. Insert a notification for each request with
-- a `notify_url` of which a repaired job is final.
WITH repaired_jobs AS (
    UPDATE jobs SET
        status = input.status,
        precedence = input.precedence,
        disputed = input.disputed,
        decided_at = input.decided_at,
        decided_position = input.decided_position,
        decided_by = input.decided_by,
        accepted_at = input.accepted_at,
        finished_at = input.finished_at,
        request_id = input.request_id,
        notify = EXISTS (SELECT FROM requests WHERE requests.id = input.request_id AND notify_url IS NOT NULL),
        poll_at = CASE WHEN input.finished_at IS NULL THEN poll_at END
    FROM jsonb_to_recordset(%(jobs)s::jsonb) AS input(
        id uuid, status text, precedence smallint, disputed boolean, decided_at timestamptz, decided_position integer,
        decided_by uuid, accepted_at timestamptz, finished_at timestamptz, request_id uuid)
    WHERE jobs.id = input.id
    RETURNING jobs.request_id, jobs.notify, jobs.finished_at
)
INSERT INTO notification_outbox (request_id)
SELECT DISTINCT request_id FROM repaired_jobs WHERE notify AND finished_at IS NOT NULL
