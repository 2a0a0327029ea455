-- Delete all shares of a worker.
DELETE FROM concurrency_shares WHERE worker_id = %(worker_id)s
