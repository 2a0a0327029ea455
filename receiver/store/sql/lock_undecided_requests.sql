-- Lock those of the requests that are not decided yet, in the global order, and return their ids.
SELECT id FROM requests WHERE id = ANY(%(ids)s) AND status IN ('queued', 'sending', 'unknown')
ORDER BY id FOR NO KEY UPDATE
