-- What happened in each minute, by provider, for charts. Workers count rows along the indexes of the lists a few seconds
-- after they were stored, outside the transactions that store them.
-- depends: 0011_row_counts_of_existing_rows

CREATE TABLE activity (
    -- the length of the period: a minute, or an hour that ended more than 65 minutes ago
    seconds integer NOT NULL CHECK (seconds IN (60, 3600)),
    started_at timestamptz NOT NULL,
    provider text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('requests', 'callbacks', 'jobs')),
    -- of requests `submitted`, of callbacks the verdict, of jobs the final status
    outcome text NOT NULL,
    -- of jobs, the bucket of the seconds from acceptance to the final status, see `receiver.domain.activity`; else 0
    bucket smallint NOT NULL,
    count bigint NOT NULL,
    PRIMARY KEY (seconds, started_at, provider, kind, outcome, bucket)
);

-- Up to when rows are counted; one row.
CREATE TABLE activity_progress (
    id boolean PRIMARY KEY DEFAULT true CHECK (id),
    counted_until timestamptz NOT NULL
);
INSERT INTO activity_progress (counted_until) VALUES (now());
