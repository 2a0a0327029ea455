-- End queued requests whose deadline passed; one that may have been acted on before is unknown, not failed. Gives them.
WITH expired AS (
    UPDATE requests SET
        status = CASE WHEN ambiguous THEN 'unknown' ELSE 'failed' END,
        detail = concat_ws('; last: ', 'deadline passed', detail),
        due_at = NULL,
        finished_at = CASE WHEN NOT ambiguous THEN now() END
    WHERE id = ANY(ARRAY(
        SELECT id FROM requests WHERE status = 'queued' AND deadline_at <= now()
        ORDER BY deadline_at LIMIT %(limit)s
        FOR UPDATE SKIP LOCKED))
    RETURNING id, notify_url, finished_at
),
noted AS (
    INSERT INTO notices (request_id)
    SELECT id FROM expired WHERE notify_url IS NOT NULL AND finished_at IS NOT NULL
)
SELECT id FROM expired
