-- The requests with a reference conflict are listed and counted like all others, see `requests_list_idx`, and end at
-- their deadlines.
-- depends: 0009_reused_references
-- transactional: false

CREATE INDEX CONCURRENTLY IF NOT EXISTS requests_conflict_idx
    ON requests (provider, operation, status, created_at, id) WHERE conflict_deadline_at IS NOT NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS requests_conflict_deadline_idx
    ON requests (conflict_deadline_at) WHERE conflict_deadline_at IS NOT NULL;
