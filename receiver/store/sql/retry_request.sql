-- Queue a request again that was not accepted, with the full number of attempts; a deadline that has passed is
-- replaced. A request stays ambiguous, and an unknown request becomes so: the provider may have acted on an earlier
-- attempt.
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
