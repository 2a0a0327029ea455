-- The number of requests, jobs and callbacks by provider and status, so that nothing counts large tables. Triggers
-- insert what each statement changes in the statement's own transaction, whichever release executes it: the counts are
-- exact, and no statement waits for another. The next migrations create the triggers, and count the rows that exist
-- already.
-- depends: 0010_tail_indexes

CREATE TABLE row_counts (
    kind text NOT NULL CHECK (kind IN ('requests', 'jobs', 'callbacks')),
    provider text NOT NULL,
    -- of a callback its verdict; only invalid and unmapped callbacks are counted
    status text NOT NULL,
    total bigint NOT NULL,
    -- how many of them are jobs without a request, disputed jobs, and requests with a reference conflict
    unmatched bigint NOT NULL,
    disputed bigint NOT NULL,
    reference_conflict bigint NOT NULL,
    PRIMARY KEY (kind, provider, status)
);

-- Changes that are not in `row_counts` yet: a count is the sum of both. Workers move the changes. There is no unique key,
-- so that no insert waits for another.
CREATE TABLE row_count_changes (
    kind text NOT NULL,
    provider text NOT NULL,
    status text NOT NULL,
    total bigint NOT NULL,
    -- null: 0
    unmatched bigint,
    disputed bigint,
    reference_conflict bigint
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

CREATE FUNCTION count_changed_jobs() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO row_count_changes (kind, provider, status, total, unmatched, disputed)
        SELECT 'jobs', provider, status, count(*), count(*) FILTER (WHERE request_id IS NULL),
            count(*) FILTER (WHERE disputed)
        FROM new_rows GROUP BY provider, status;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO row_count_changes (kind, provider, status, total, unmatched, disputed)
        SELECT 'jobs', provider, status, -count(*), -count(*) FILTER (WHERE request_id IS NULL),
            -count(*) FILTER (WHERE disputed)
        FROM old_rows GROUP BY provider, status;
    -- INSERT ... ON CONFLICT DO UPDATE fires both triggers, also if all rows are new.
    ELSIF EXISTS (SELECT FROM new_rows) THEN
        INSERT INTO row_count_changes (kind, provider, status, total, unmatched, disputed)
        SELECT 'jobs', provider, status, sum(change), sum(change) FILTER (WHERE request_id IS NULL),
            sum(change) FILTER (WHERE disputed)
        FROM (
            SELECT provider, status, request_id, disputed, 1 AS change FROM new_rows
            UNION ALL
            SELECT provider, status, request_id, disputed, -1 FROM old_rows
        ) AS changed_row
        GROUP BY provider, status
        HAVING sum(change) <> 0 OR sum(change) FILTER (WHERE request_id IS NULL) <> 0
            OR sum(change) FILTER (WHERE disputed) <> 0;
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION count_changed_requests() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO row_count_changes (kind, provider, status, total, reference_conflict)
        SELECT 'requests', provider, status, count(*), count(conflict_deadline_at)
        FROM new_rows GROUP BY provider, status;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO row_count_changes (kind, provider, status, total, reference_conflict)
        SELECT 'requests', provider, status, -count(*), -count(conflict_deadline_at)
        FROM old_rows GROUP BY provider, status;
    ELSIF EXISTS (SELECT FROM new_rows) THEN
        INSERT INTO row_count_changes (kind, provider, status, total, reference_conflict)
        SELECT 'requests', provider, status, sum(change), sum(change) FILTER (WHERE conflict_deadline_at IS NOT NULL)
        FROM (
            SELECT provider, status, conflict_deadline_at, 1 AS change FROM new_rows
            UNION ALL
            SELECT provider, status, conflict_deadline_at, -1 FROM old_rows
        ) AS changed_row
        GROUP BY provider, status
        HAVING sum(change) <> 0 OR sum(change) FILTER (WHERE conflict_deadline_at IS NOT NULL) <> 0;
    END IF;
    RETURN NULL;
END
$$;

-- Callbacks that need attention are rare: these triggers fire for single rows, and for no others.
CREATE FUNCTION count_changed_callback() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' AND OLD.verdict IN ('invalid', 'unmapped') THEN
        INSERT INTO row_count_changes (kind, provider, status, total)
        VALUES ('callbacks', OLD.provider, OLD.verdict, -1);
    END IF;
    IF TG_OP <> 'DELETE' AND NEW.verdict IN ('invalid', 'unmapped') THEN
        INSERT INTO row_count_changes (kind, provider, status, total)
        VALUES ('callbacks', NEW.provider, NEW.verdict, 1);
    END IF;
    RETURN NULL;
END
$$;

-- No other transaction has changed rows since, as TRUNCATE waits for all of them.
CREATE FUNCTION count_truncated_rows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM row_count_changes WHERE kind = TG_TABLE_NAME;
    DELETE FROM row_counts WHERE kind = TG_TABLE_NAME;
    RETURN NULL;
END
$$;

CREATE VIEW current_row_counts AS
SELECT kind, provider, status, sum(total)::bigint AS total, coalesce(sum(unmatched), 0)::bigint AS unmatched,
    coalesce(sum(disputed), 0)::bigint AS disputed, coalesce(sum(reference_conflict), 0)::bigint AS reference_conflict
FROM (
    SELECT kind, provider, status, total, unmatched, disputed, reference_conflict FROM row_counts
    UNION ALL
    SELECT kind, provider, status, total, unmatched, disputed, reference_conflict FROM row_count_changes
) AS part
GROUP BY kind, provider, status;

-- What the counts must be. Reads whole tables.
CREATE VIEW counted_rows AS
SELECT 'requests' AS kind, provider, status, count(*) AS total, 0::bigint AS unmatched, 0::bigint AS disputed,
    count(conflict_deadline_at) AS reference_conflict
FROM requests GROUP BY provider, status
UNION ALL
SELECT 'jobs', provider, status, count(*), count(*) FILTER (WHERE request_id IS NULL),
    count(*) FILTER (WHERE disputed), 0
FROM jobs GROUP BY provider, status
UNION ALL
SELECT 'callbacks', provider, verdict, count(*), 0, 0, 0
FROM callbacks WHERE verdict IN ('invalid', 'unmapped') GROUP BY provider, verdict;

-- Set the counts to what they must be. Rows may change meanwhile: in one snapshot, rows are counted and the changes that
-- are not in `row_counts` yet are subtracted. The lock makes workers wait that would move changes.
CREATE FUNCTION count_all_rows() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    LOCK TABLE row_counts IN SHARE ROW EXCLUSIVE MODE;
    DELETE FROM row_counts;
    INSERT INTO row_counts (kind, provider, status, total, unmatched, disputed, reference_conflict)
    SELECT kind, provider, status, sum(total), coalesce(sum(unmatched), 0), coalesce(sum(disputed), 0),
        coalesce(sum(reference_conflict), 0)
    FROM (
        SELECT kind, provider, status, total, unmatched, disputed, reference_conflict FROM counted_rows
        UNION ALL
        SELECT kind, provider, status, -total, -unmatched, -disputed, -reference_conflict FROM row_count_changes
    ) AS part
    GROUP BY kind, provider, status;
END
$$;
