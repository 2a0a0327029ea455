-- What the API needs: keys with their allowances, idempotency keys, what operators did, and an index for each list.
-- depends: 0002_guard

CREATE TABLE api_keys (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    -- SHA-256 of the key, which is 256 random bits and never stored
    hash bytea NOT NULL UNIQUE,
    prefix text NOT NULL,
    scopes text[] NOT NULL CHECK (cardinality(scopes) > 0 AND scopes <@ ARRAY['submit', 'read', 'admin']),
    -- null: all of them
    providers text[] CHECK (cardinality(providers) > 0),
    per_minute integer NOT NULL CHECK (per_minute > 0),
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz
);

-- How much of a key's allowance the processes have taken in the minute that runs; may be lost in a crash.
CREATE UNLOGGED TABLE allowances (
    key_id uuid PRIMARY KEY,
    minute timestamptz NOT NULL,
    taken integer NOT NULL,
    granted integer NOT NULL
);

CREATE TABLE idempotency_keys (
    -- the API key that used it
    owner_id uuid NOT NULL,
    key text NOT NULL,
    fingerprint bytea NOT NULL,
    -- null only within the transaction that makes it
    answer bytea,
    location text,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (owner_id, key)
);

-- What operators did to requests, callbacks, providers and keys. What they said of a job is one of its events.
CREATE TABLE actions (
    id uuid PRIMARY KEY,
    subject text NOT NULL,
    action text NOT NULL,
    at timestamptz NOT NULL,
    by text NOT NULL,
    reason text
);
CREATE INDEX actions_of_subject ON actions (subject, at);

ALTER TABLE events ADD COLUMN by text;

-- The metadata that requests can be found by: texts, numbers and booleans, not too long for an index.
CREATE TABLE request_metadata (
    key text NOT NULL,
    value text NOT NULL,
    created_at timestamptz NOT NULL,
    request_id uuid NOT NULL REFERENCES requests ON DELETE CASCADE,
    PRIMARY KEY (key, value, created_at, request_id)
);
CREATE INDEX metadata_of_request ON request_metadata (request_id);

CREATE INDEX api_keys_listed ON api_keys (created_at, id);

-- The lists read each provider and status by itself, newest first and no further than a page is long, and merge what
-- they find: a page then costs the same however large the tables are and however rare what is looked for.
CREATE INDEX requests_listed ON requests (provider, operation, status, created_at, id);
CREATE INDEX jobs_listed ON jobs (provider, status, accepted_at, id);
CREATE INDEX jobs_finished ON jobs (provider, status, finished_at, id) WHERE finished_at IS NOT NULL;
CREATE INDEX jobs_disputed ON jobs (provider, status, accepted_at, id) WHERE disputed;
CREATE INDEX jobs_unmatched ON jobs (provider, status, accepted_at, id) WHERE request_id IS NULL;
CREATE INDEX callbacks_listed ON callbacks (provider, verdict, received_at, id);
DROP INDEX callbacks_refused;
CREATE INDEX callbacks_repeated ON callbacks (identity) WHERE verdict = 'duplicate';

-- Who there is something of, configured or not: found by hops along the index, one for each.
CREATE VIEW operations_with_requests AS
WITH RECURSIVE known AS (
    (SELECT provider, operation FROM requests ORDER BY provider, operation LIMIT 1)
    UNION ALL
    SELECT next.provider, next.operation FROM known CROSS JOIN LATERAL (
        SELECT provider, operation FROM requests WHERE (provider, operation) > (known.provider, known.operation)
        ORDER BY provider, operation LIMIT 1) AS next
)
SELECT provider, operation FROM known;

CREATE VIEW providers_with_jobs AS
WITH RECURSIVE known AS (
    (SELECT provider FROM jobs ORDER BY provider LIMIT 1)
    UNION ALL
    SELECT next.provider FROM known CROSS JOIN LATERAL (
        SELECT provider FROM jobs WHERE provider > known.provider ORDER BY provider LIMIT 1) AS next
)
SELECT provider FROM known;

CREATE VIEW providers_with_callbacks AS
WITH RECURSIVE known AS (
    (SELECT provider FROM callbacks ORDER BY provider LIMIT 1)
    UNION ALL
    SELECT next.provider FROM known CROSS JOIN LATERAL (
        SELECT provider FROM callbacks WHERE provider > known.provider ORDER BY provider LIMIT 1) AS next
)
SELECT provider FROM known;
