-- Settle a request of which nobody knew whether it was taken, by an operator's word.
UPDATE requests SET
    status = %(status)s,
    detail = %(detail)s,
    ask_at = NULL,
    finished_at = CASE WHEN %(status)s <> 'accepted' THEN now() END
WHERE id = %(id)s AND status = 'unknown'
