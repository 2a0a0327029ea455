-- The list of a client's requests is read like the list of all, see `requests_list_idx`.
-- depends: 0004_events_of_callbacks
-- transactional: false

CREATE INDEX CONCURRENTLY IF NOT EXISTS requests_client_idx
    ON requests (client, provider, operation, status, created_at, id);
