-- name: move_row_count_changes
-- Add changes to the counts, at most `limit` of them; others than those that another worker adds at the same time.
WITH changes AS MATERIALIZED (
    SELECT ctid AS position FROM row_count_changes LIMIT %(limit)s FOR UPDATE SKIP LOCKED
),
moved_changes AS (
    DELETE FROM row_count_changes WHERE ctid = ANY(ARRAY(SELECT position FROM changes))
    RETURNING kind, provider, status, total, unmatched, disputed, reference_conflict
),
updated_counts AS (
    INSERT INTO row_counts AS counts (kind, provider, status, total, unmatched, disputed, reference_conflict)
    SELECT kind, provider, status, sum(total), coalesce(sum(unmatched), 0), coalesce(sum(disputed), 0),
        coalesce(sum(reference_conflict), 0)
    FROM moved_changes GROUP BY kind, provider, status
    ORDER BY kind, provider, status -- the order in which all workers lock counts
    ON CONFLICT (kind, provider, status) DO UPDATE SET
        total = counts.total + excluded.total,
        unmatched = counts.unmatched + excluded.unmatched,
        disputed = counts.disputed + excluded.disputed,
        reference_conflict = counts.reference_conflict + excluded.reference_conflict
)
SELECT count(*) FROM moved_changes

-- name: find_wrong_counts
-- Return the counts that are not those of the rows, of one provider or of all providers. Reads whole tables.
SELECT kind, provider, status, to_jsonb(stored) - ARRAY['kind', 'provider', 'status'] AS stored,
    to_jsonb(counted) - ARRAY['kind', 'provider', 'status'] AS counted
FROM counted_rows AS counted
FULL JOIN current_row_counts AS stored USING (kind, provider, status)
WHERE (coalesce(counted.total, 0), coalesce(counted.unmatched, 0), coalesce(counted.disputed, 0),
        coalesce(counted.reference_conflict, 0))
    <> (coalesce(stored.total, 0), coalesce(stored.unmatched, 0), coalesce(stored.disputed, 0),
        coalesce(stored.reference_conflict, 0))
    AND (%(provider)s::text IS NULL OR provider = %(provider)s)
ORDER BY kind, provider, status

-- name: count_all_rows
-- Set all counts to those of the rows. Reads whole tables.
SELECT count_all_rows()
