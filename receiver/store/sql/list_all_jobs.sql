-- Every job's reference, status, dispute and whether its request is known; for a demonstration's small database only.
SELECT reference, status, disputed, request_id IS NOT NULL FROM jobs
