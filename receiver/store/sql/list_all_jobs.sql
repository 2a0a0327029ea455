-- Return every job's reference and status, whether it is disputed, and whether its request is known. Only for the small
-- database of a demonstration.
SELECT reference, status, disputed, request_id IS NOT NULL FROM jobs
