-- name: set_migration_limits
-- Set the time limits of the current transaction, those that this version of Postgres has. The limits of the role or the
-- database must not end a migration, and a transaction whose client is gone without a word must not stay open.
SELECT set_config(setting.name, setting.value, true)
FROM (VALUES
    ('lock_timeout', %(lock_timeout)s),
    ('statement_timeout', '0'),
    ('transaction_timeout', '0'),
    ('idle_in_transaction_session_timeout', %(idle_timeout)s)
) AS setting(name, value)
JOIN pg_settings USING (name);

-- name: try_migration_lock
-- Take the lock of migrations until the transaction ends, and return whether it was free.
SELECT pg_try_advisory_xact_lock(7305042311);

-- name: find_migration_lock_holder
-- Find the backend that holds the lock of migrations.
SELECT activity.pid, activity.application_name AS application, activity.usename AS role, activity.state,
    extract(epoch FROM clock_timestamp() - activity.xact_start)::float8 AS age_s, left(activity.query, 100) AS query
FROM pg_locks AS held JOIN pg_stat_activity AS activity USING (pid)
WHERE held.locktype = 'advisory' AND held.granted AND held.objsubid = 1
    AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND (held.classid::bigint << 32) + held.objid::bigint = 7305042311;

-- name: find_lock_holders
-- Find what the backend that executes a statement under this application name waits for: one row for each backend that
-- holds a lock, one row of nulls if the backend waits for none, no row if no such backend executes a statement. The pid
-- of a prepared transaction is 0.
SELECT holder.pid, activity.application_name AS application, activity.usename AS role, activity.state,
    extract(epoch FROM clock_timestamp() - activity.xact_start)::float8 AS age_s, left(activity.query, 100) AS query
FROM pg_stat_activity AS own
LEFT JOIN LATERAL unnest(CASE own.wait_event_type WHEN 'Lock' THEN pg_blocking_pids(own.pid) END)
    AS holder(pid) ON true
LEFT JOIN pg_stat_activity AS activity ON activity.pid = holder.pid
WHERE own.application_name = %(application)s AND own.datname = current_database() AND own.state <> 'idle';

-- name: find_invalid_indexes
-- Find the indexes that a build left unfinished, with their tables, quoted where necessary.
SELECT pg_class.relname AS name, pg_index.indexrelid::regclass::text AS identifier,
    pg_index.indrelid::regclass::text AS table_identifier
FROM pg_index JOIN pg_class ON pg_class.oid = pg_index.indexrelid
WHERE NOT pg_index.indisvalid AND pg_class.relnamespace = current_schema()::regnamespace
ORDER BY pg_class.relname;
