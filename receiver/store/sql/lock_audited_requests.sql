-- Lock the requests to repair in the global order.
SELECT id FROM requests WHERE id = ANY(%(ids)s) ORDER BY id FOR UPDATE
