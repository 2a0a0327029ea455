-- Read the events of a callback in the order of the body, a page at a time. The new index also serves the statements
-- that used the index on `callback_id` alone, which it replaces.
-- depends: 0003_secrets_and_access
-- transactional: false

CREATE INDEX CONCURRENTLY IF NOT EXISTS events_callback_position_idx
    ON events (callback_id, position) WHERE callback_id IS NOT NULL;
DROP INDEX CONCURRENTLY IF EXISTS events_callback_idx;
