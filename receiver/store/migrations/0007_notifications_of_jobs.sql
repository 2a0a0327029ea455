-- Notifications about single jobs, and the status of a response that is stored with its idempotency key.
-- depends: 0006_priority_index

-- What the client of a request is notified of, see `NotifyEvent`. Null if there is no `notify_url`, and in a row of an
-- earlier release, which means the end of the request only.
ALTER TABLE requests ADD COLUMN notify_events text[];

-- Copied from the job's request like `notify`.
ALTER TABLE jobs ADD COLUMN notify_events text[];

-- Jobs that may have reached a status of which their client is to be notified, written and read like
-- `notification_outbox`.
CREATE TABLE job_notification_outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    request_id uuid NOT NULL,
    job_id uuid NOT NULL
);

-- The state of each job that was notified last. Not columns of `jobs`: nobody else waits for the rows of this table.
CREATE TABLE notified_jobs (
    job_id uuid PRIMARY KEY REFERENCES jobs ON DELETE CASCADE,
    status text NOT NULL,
    disputed boolean NOT NULL
);

-- Null in a row of an earlier release: 202.
ALTER TABLE idempotency_keys ADD COLUMN status smallint;
