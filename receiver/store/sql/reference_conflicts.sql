-- name: flag_reference_conflicts
-- Append to requests' details that their references belong to other requests. An accepted request waits for an operator
-- until `deadline_at`; any other status needs no operator, or shows that it does. The requests are locked already.
UPDATE requests SET
    detail = coalesce(requests.detail || '; ', '') || conflict.detail,
    conflict_deadline_at = CASE WHEN status = 'accepted'
        THEN greatest(requests.conflict_deadline_at, conflict.deadline_at) END
FROM jsonb_to_recordset(%(conflicts)s::jsonb) AS conflict(request_id uuid, detail text, deadline_at timestamptz)
WHERE requests.id = conflict.request_id

-- name: expire_reference_conflicts
-- End the reference conflicts whose deadline has passed. A request without a job of its own fails; for any other, its
-- jobs decide. It is ambiguous, because the provider has acted on it. Insert a notification for each request.
WITH expired_requests AS (
    UPDATE requests SET
        status = CASE WHEN expired.has_job THEN 'accepted' ELSE 'failed' END,
        detail = coalesce(requests.detail || '; ', '') || 'its deadline passed before an operator resolved it',
        ambiguous = true,
        finished_at = CASE WHEN NOT expired.has_job THEN expired_at END,
        conflict_deadline_at = NULL
    FROM (
        SELECT id, now() AS expired_at, EXISTS (SELECT FROM jobs WHERE request_id = requests.id) AS has_job
        FROM requests WHERE conflict_deadline_at <= now()
        ORDER BY conflict_deadline_at LIMIT %(limit)s
        FOR UPDATE SKIP LOCKED
    ) AS expired
    WHERE requests.id = expired.id
    RETURNING requests.id, notify_url
),
notifications AS (
    INSERT INTO notification_outbox (request_id) SELECT id FROM expired_requests WHERE notify_url IS NOT NULL
)
SELECT id FROM expired_requests
