-- Accept requests of which a job is known: those in doubt, and those that wait to be sent again because an attempt
-- failed. One that is being sent is left to its answer, which finds it marked. The rows are locked already. What may have
-- ended a request is noted for those who want to be told.
WITH accepted AS (
    UPDATE requests SET
        status = CASE WHEN status = 'sending' THEN 'sending' ELSE 'accepted' END,
        detail = CASE WHEN status = 'sending' THEN detail
            ELSE concat_ws('; ', detail, 'it was taken: a job of it is known') END,
        due_at = NULL,
        next_lookup_at = NULL,
        known_accepted = true
    WHERE id = ANY(%(ids)s)
        AND (status IN ('sending', 'unknown') OR (status = 'queued' AND attempts > 0 AND (ambiguous OR failures > 0)))
    RETURNING id, notify_url, status
)
INSERT INTO notification_outbox (request_id) SELECT id FROM accepted WHERE notify_url IS NOT NULL AND status = 'accepted'
