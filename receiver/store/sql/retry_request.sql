-- Queue a request again that ended without being taken, with all its attempts anew; a deadline that passed is set anew.
-- That an earlier attempt may have been acted on stays known: of one that is unknown nobody can say that it was not.
UPDATE requests SET
    status = 'queued',
    detail = NULL,
    failures = 0,
    ambiguous = ambiguous OR status = 'unknown',
    due_at = now(),
    deadline_at = CASE WHEN deadline_at > now() THEN deadline_at
        ELSE now() + make_interval(secs => %(deadline_after)s) END,
    finished_at = NULL,
    known_accepted = false,
    next_lookup_at = NULL
WHERE id = %(id)s AND status IN ('rejected', 'failed', 'unknown', 'cancelled')
