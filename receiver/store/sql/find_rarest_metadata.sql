-- Of several keys of metadata with their values, the one by which the fewest requests are found; `most` and more are
-- all one.
SELECT key FROM jsonb_each_text(%(metadata)s::jsonb) AS pair(key, value)
ORDER BY (
    SELECT count(*)
    FROM (SELECT FROM request_metadata WHERE key = pair.key AND value = pair.value LIMIT %(most)s) AS found)
LIMIT 1
