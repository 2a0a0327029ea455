-- name: read_state
-- Return whether transactions are read-only, and whether all migrations were applied.
SELECT current_setting('transaction_read_only') = 'on' AS is_read_only,
    (SELECT count(*) FROM schema_migrations WHERE migration_id = ANY(%(migrations)s::text[]))
        = cardinality(%(migrations)s::text[]) AS is_migrated

-- name: commit_nothing
-- Write a message without content to the log of Postgres. Its commit is as durable as any other, on synchronous
-- standbys too, but leaves no row behind.
SELECT pg_logical_emit_message(true, 'callback-receiver', '')

-- name: lock_tables_of_callbacks
-- Lock the tables that a callback is stored in, as an insert locks them.
LOCK TABLE callbacks, events, jobs IN ROW EXCLUSIVE MODE

-- name: write_callback
-- Insert a callback that is rolled back: as long as a disk is full, there is no room for it.
INSERT INTO callbacks (id, identity, provider, received_at, verdict, method, target, headers, body)
VALUES (%(id)s, %(id)s, '', now(), 'accepted', '', '', '{}', %(body)s)
