-- Requests to which a provider gave the reference of a job that belongs to another request.
-- depends: 0007_notifications_of_jobs

-- until when such a request waits for an operator; null for all others
ALTER TABLE requests ADD COLUMN conflict_deadline_at timestamptz;
