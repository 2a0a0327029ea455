-- Take a request out of the queue. One that may have been acted on in an earlier attempt is unknown, not cancelled.
UPDATE requests SET
    status = CASE WHEN ambiguous THEN 'unknown' ELSE 'cancelled' END,
    detail = CASE WHEN ambiguous THEN 'cancelled, but an earlier attempt may have been acted on' ELSE 'cancelled' END,
    due_at = NULL,
    finished_at = CASE WHEN NOT ambiguous THEN now() END
WHERE id = %(id)s AND status = 'queued'
