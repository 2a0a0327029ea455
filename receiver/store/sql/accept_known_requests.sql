-- Accept requests of which a job is known: unknown requests, and requests that wait for another attempt after a failed
-- one. A request that is being sent keeps its status; its `known_accepted` decides when the response is recorded. The
-- rows are locked already. Insert a notification for each request that may have ended.
WITH accepted_requests AS (
    UPDATE requests SET
        status = CASE WHEN status = 'sending' THEN 'sending' ELSE 'accepted' END,
        detail = CASE WHEN status = 'sending' THEN detail
            ELSE concat_ws('; ', detail, 'accepted: one of its jobs is known') END,
        due_at = NULL,
        next_lookup_at = NULL,
        known_accepted = true
    WHERE id = ANY(%(ids)s)
        AND (status IN ('sending', 'unknown') OR (status = 'queued' AND attempts > 0 AND (ambiguous OR failures > 0)))
    RETURNING id, notify_url, status
)
INSERT INTO notification_outbox (request_id)
SELECT id FROM accepted_requests WHERE notify_url IS NOT NULL AND status = 'accepted'
