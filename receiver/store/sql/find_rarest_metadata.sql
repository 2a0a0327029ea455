-- Return the one of several metadata keys whose value finds the fewest requests. Counting stops at `max_count`, so that
-- more frequent values all count the same.
SELECT key FROM jsonb_each_text(%(metadata)s::jsonb) AS pair(key, value)
ORDER BY (
    SELECT count(*)
    FROM (
        SELECT FROM request_metadata WHERE key = pair.key AND value = pair.value LIMIT %(max_count)s
    ) AS request)
LIMIT 1
