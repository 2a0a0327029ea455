-- Claim due requests in the order of their priorities. The index ends with the id, unlike `requests_due_idx`, which
-- shows whether anything is due: only this index has the order of a claim, so that no plan reads the requests of other
-- priorities.
-- depends: 0006_priority
-- transactional: false

CREATE INDEX CONCURRENTLY IF NOT EXISTS requests_priority_idx
    ON requests (provider, priority, due_at, id) WHERE status = 'queued';
