-- References that a provider gives a second time: the requests whose reference belongs to another request's job, and the
-- jobs of a later generation, which a reference names long after the job before has ended.
-- depends: 0008_access_tokens

-- until when a request with a reference conflict waits for an operator; null for all others
ALTER TABLE requests ADD COLUMN conflict_deadline_at timestamptz;

-- from when on the job's reference names the job of the next generation; null for the newest
ALTER TABLE jobs ADD COLUMN superseded_at timestamptz;

-- The generations of references, except the first one. The job of the first generation has the id that is derived from
-- provider and reference. What was received since `opened_at` belongs to this generation or to a later one. A row may
-- outlive its job: callbacks about a removed job still do not belong to an earlier one.
CREATE TABLE reference_generations (
    first_job_id uuid NOT NULL,
    number integer NOT NULL CHECK (number > 1),
    job_id uuid NOT NULL UNIQUE,
    opened_at timestamptz NOT NULL,
    PRIMARY KEY (first_job_id, number)
);

-- Abort the transaction; its caller is to run it again.
CREATE FUNCTION raise_conflict(message text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    RAISE SQLSTATE '40001' USING MESSAGE = message;
END
$$;
