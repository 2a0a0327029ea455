-- Give up all shares of a worker.
DELETE FROM shares WHERE worker_id = %(worker_id)s
