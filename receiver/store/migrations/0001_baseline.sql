-- The baseline schema: providers and their limits, requests with their attempts, callbacks, jobs with their events, API
-- keys, idempotency keys, the actions of operators, and the outbox of webhook notifications.
--
-- Later migrations expand first and contract in a later release: nothing that the previous release uses is renamed or
-- dropped while that release may still serve. An ALTER TABLE has one subcommand. An index on an existing table is built
-- CONCURRENTLY and IF NOT EXISTS, in a migration of its own that is not transactional; see 0005 for an example.
-- depends:

-- What all workers share about a provider: its pause, rate and circuit breaker.
CREATE TABLE providers (
    name text PRIMARY KEY,
    paused_at timestamptz,
    pause_reason text,
    -- exchanges per second; null means the configured rate. `full_rate` is the rate before it was lowered.
    rate double precision CHECK (rate > 0),
    full_rate double precision,
    rate_changed_at timestamptz,
    held_until timestamptz,
    next_slot_at timestamptz,
    failures integer NOT NULL DEFAULT 0 CHECK (failures >= 0),
    consecutive_openings integer NOT NULL DEFAULT 0 CHECK (consecutive_openings >= 0),
    open_until timestamptz,
    probing boolean NOT NULL DEFAULT false,
    -- whether an exchange must take a send slot even if no rate is configured
    limited boolean NOT NULL GENERATED ALWAYS AS
        (rate IS NOT NULL OR held_until IS NOT NULL OR open_until IS NOT NULL) STORED,
    CONSTRAINT providers_pause_check CHECK ((paused_at IS NULL) = (pause_reason IS NULL)),
    CONSTRAINT providers_openings_check CHECK ((open_until IS NULL) = (consecutive_openings = 0)),
    CONSTRAINT providers_probing_check CHECK (open_until IS NOT NULL OR NOT probing)
);

-- How many concurrent exchanges with a provider each worker may have. A worker that does not renew its share loses it.
CREATE TABLE concurrency_shares (
    provider text NOT NULL,
    worker_id uuid NOT NULL,
    slots integer NOT NULL CHECK (slots >= 0),
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (provider, worker_id)
);

-- Credentials that a provider refused. Nothing is sent with them, while workers with other credentials go on.
CREATE TABLE refused_credentials (
    provider text NOT NULL,
    -- a keyed hash of the credentials, never the credentials; empty for a provider without credentials
    fingerprint text NOT NULL,
    refused_at timestamptz NOT NULL,
    reason text NOT NULL,
    -- when a worker with other credentials took over; null while every worker's credentials are refused
    lifted_at timestamptz,
    PRIMARY KEY (provider, fingerprint)
);

CREATE TABLE requests (
    id uuid PRIMARY KEY,
    -- the client that submitted the request; null for requests of the service itself, such as notifications
    client text,
    provider text NOT NULL,
    operation text NOT NULL,
    payload jsonb NOT NULL CHECK (jsonb_typeof(payload) = 'object'),
    metadata jsonb NOT NULL CHECK (jsonb_typeof(metadata) = 'object'),
    status text NOT NULL CHECK (status IN
        ('queued', 'sending', 'accepted', 'completed', 'rejected', 'failed', 'unknown', 'cancelled')),
    detail text,
    created_at timestamptz NOT NULL,
    deadline_at timestamptz NOT NULL,
    due_at timestamptz,
    leased_until timestamptz,
    finished_at timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    -- attempts that count against the retry policy, and whether the provider may have acted on one that had no response
    failures integer NOT NULL DEFAULT 0 CONSTRAINT requests_failures_check CHECK (failures BETWEEN 0 AND attempts),
    ambiguous boolean NOT NULL DEFAULT false,
    -- a job of the request is known although no response named it: the request is not sent again
    known_accepted boolean NOT NULL DEFAULT false,
    -- when an unknown request is looked up next; during a lookup, the end of its lease
    next_lookup_at timestamptz,
    lookup_count integer NOT NULL DEFAULT 0,
    unknown_since timestamptz,
    -- how many lookups had the result "not found"
    not_found integer NOT NULL DEFAULT 0,
    notify_url text,
    -- SHA-256 of the final state that was last notified, see find_pending_notifications.sql
    last_notified_digest bytea,
    CONSTRAINT requests_due_at_check CHECK ((due_at IS NOT NULL) = (status = 'queued')),
    CONSTRAINT requests_leased_until_check CHECK ((leased_until IS NOT NULL) = (status = 'sending')),
    CONSTRAINT requests_finished_at_check CHECK ((finished_at IS NOT NULL) =
        (status IN ('completed', 'rejected', 'failed', 'cancelled'))),
    CONSTRAINT requests_next_lookup_at_check CHECK
        (next_lookup_at IS NULL OR (status = 'unknown' AND unknown_since IS NOT NULL))
);
CREATE INDEX requests_due_idx ON requests (provider, due_at) WHERE status = 'queued';
CREATE INDEX requests_overdue_idx ON requests (deadline_at) WHERE status = 'queued';
CREATE INDEX requests_leased_idx ON requests (leased_until) WHERE status = 'sending';
CREATE INDEX requests_lookup_idx ON requests (provider, next_lookup_at) WHERE next_lookup_at IS NOT NULL;

-- Metadata by which requests are found: texts, numbers and booleans that are short enough for an index.
CREATE TABLE request_metadata (
    key text NOT NULL,
    value text NOT NULL,
    created_at timestamptz NOT NULL,
    request_id uuid NOT NULL REFERENCES requests ON DELETE CASCADE,
    PRIMARY KEY (key, value, created_at, request_id)
);
CREATE INDEX request_metadata_request_idx ON request_metadata (request_id);

CREATE TABLE attempts (
    id uuid PRIMARY KEY,
    request_id uuid NOT NULL REFERENCES requests ON DELETE CASCADE,
    number integer NOT NULL CHECK (number > 0),
    started_at timestamptz NOT NULL,
    finished_at timestamptz,
    response_status smallint CHECK (response_status BETWEEN 100 AND 999),
    response_headers jsonb,
    response_body bytea,
    error text,
    UNIQUE (request_id, number),
    CONSTRAINT attempts_outcome_check CHECK (finished_at IS NULL OR response_status IS NOT NULL OR error IS NOT NULL)
);

CREATE TABLE callbacks (
    id uuid PRIMARY KEY,
    -- derived from provider, event id and body: equal for every delivery of the same callback
    identity uuid NOT NULL,
    provider text NOT NULL,
    received_at timestamptz NOT NULL,
    verdict text NOT NULL CHECK (verdict IN ('accepted', 'duplicate', 'invalid', 'unmapped', 'refused')),
    method text NOT NULL,
    target text NOT NULL,
    headers jsonb NOT NULL,
    -- null for a duplicate: the first delivery with the same identity has the body
    body bytea,
    errors jsonb,
    CONSTRAINT callbacks_body_check CHECK ((body IS NULL) = (verdict = 'duplicate')),
    CONSTRAINT callbacks_errors_check CHECK (verdict <> 'invalid' OR errors IS NOT NULL)
);
CREATE UNIQUE INDEX callbacks_first_delivery_idx ON callbacks (identity, verdict)
    WHERE verdict IN ('accepted', 'invalid', 'unmapped');
CREATE INDEX callbacks_duplicate_idx ON callbacks (identity) WHERE verdict = 'duplicate';

-- When each signing secret last matched.
CREATE TABLE secret_uses (
    provider text NOT NULL,
    -- the first digits of the secret's SHA-256, never the secret
    fingerprint text NOT NULL,
    last_used_at timestamptz NOT NULL,
    PRIMARY KEY (provider, fingerprint)
);

CREATE TABLE jobs (
    id uuid PRIMARY KEY,
    provider text NOT NULL,
    reference text NOT NULL,
    request_id uuid,
    status text NOT NULL CHECK (status IN ('accepted', 'in_progress', 'unresolved', 'succeeded', 'failed')),
    precedence smallint NOT NULL CHECK (precedence IN (0, 10, 20, 30, 40, 50, 60)),
    disputed boolean NOT NULL DEFAULT false,
    -- receive time, position and key of the event that decides the status
    decided_at timestamptz NOT NULL,
    decided_position integer NOT NULL DEFAULT 0,
    decided_by uuid NOT NULL,
    accepted_at timestamptz NOT NULL,
    finished_at timestamptz,
    deadline_at timestamptz NOT NULL,
    poll_at timestamptz,
    polls integer NOT NULL DEFAULT 0,
    location text,
    -- whether the job's request has a notify_url, copied when the two are matched: a statement that ends a job need not
    -- read the request
    notify boolean NOT NULL DEFAULT false,
    CONSTRAINT jobs_finished_at_check CHECK ((finished_at IS NOT NULL) = (status IN ('succeeded', 'failed'))),
    CONSTRAINT jobs_poll_at_check CHECK (poll_at IS NULL OR finished_at IS NULL),
    CONSTRAINT jobs_status_precedence_check CHECK (precedence = 60 OR CASE status
        WHEN 'accepted' THEN precedence IN (0, 10)
        WHEN 'in_progress' THEN precedence = 20
        WHEN 'unresolved' THEN precedence = 30
        ELSE precedence IN (40, 50) END)
);
CREATE INDEX jobs_request_idx ON jobs (request_id) WHERE request_id IS NOT NULL;
CREATE INDEX jobs_poll_idx ON jobs (provider, poll_at) WHERE poll_at IS NOT NULL;
CREATE INDEX jobs_overdue_idx ON jobs (deadline_at) WHERE status IN ('accepted', 'in_progress');

CREATE TABLE events (
    job_id uuid NOT NULL REFERENCES jobs ON DELETE CASCADE,
    key uuid NOT NULL,
    source text NOT NULL CHECK (source IN ('response', 'callback', 'poll', 'operator', 'deadline')),
    status text CHECK (status IN ('accepted', 'in_progress', 'unresolved', 'succeeded', 'failed')),
    precedence smallint NOT NULL CONSTRAINT events_precedence_check CHECK ((precedence = 0) = (status IS NULL)),
    provider_status text,
    code text,
    detail text,
    occurred_at timestamptz,
    received_at timestamptz NOT NULL,
    -- the position among the items of the callback or response that the event came with
    position integer NOT NULL DEFAULT 0,
    callback_id uuid,
    request_id uuid,
    actor text,
    PRIMARY KEY (job_id, key)
);
CREATE INDEX events_callback_idx ON events (callback_id) WHERE callback_id IS NOT NULL;

-- Requests that may have reached a final state of which their client is to be notified. Rows are inserted by the
-- transaction that changed the request and deleted by the workers, oldest first. There is no unique key, so that no
-- insert waits for another.
CREATE TABLE notification_outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    request_id uuid NOT NULL
);

CREATE TABLE api_keys (
    id uuid PRIMARY KEY,
    -- whose credential the key is: requests and idempotency keys belong to the client, so that a key can be rotated
    client text NOT NULL,
    name text NOT NULL,
    -- SHA-256 of the key, which is 256 random bits and never stored
    hash bytea NOT NULL UNIQUE,
    prefix text NOT NULL,
    scopes text[] NOT NULL CHECK (cardinality(scopes) > 0 AND scopes <@ ARRAY['submit', 'read', 'admin']),
    -- null: all providers
    providers text[] CHECK (cardinality(providers) > 0),
    per_minute integer NOT NULL CHECK (per_minute > 0),
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz
);
CREATE INDEX api_keys_list_idx ON api_keys (created_at, id);

-- How many calls of a key's rate limit the processes have leased in the current minute; may be lost in a crash.
CREATE UNLOGGED TABLE rate_limit_usage (
    key_id uuid PRIMARY KEY,
    minute timestamptz NOT NULL,
    used integer NOT NULL,
    granted integer NOT NULL
);

CREATE TABLE idempotency_keys (
    client text NOT NULL,
    key text NOT NULL,
    fingerprint bytea NOT NULL,
    -- null only within the transaction that inserts the row
    response bytea,
    location text,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (client, key)
);

-- Actions of operators on requests, callbacks, providers and keys. What an operator states about a job is an event of
-- the job.
CREATE TABLE actions (
    id uuid PRIMARY KEY,
    subject text NOT NULL,
    action text NOT NULL,
    created_at timestamptz NOT NULL,
    actor text NOT NULL,
    reason text
);
CREATE INDEX actions_subject_idx ON actions (subject, created_at);

-- The lists read each provider and status separately, newest first and no further than one page, and merge the results:
-- a page costs the same however large the tables are and however rare the rows are.
CREATE INDEX requests_list_idx ON requests (provider, operation, status, created_at, id);
CREATE INDEX jobs_list_idx ON jobs (provider, status, accepted_at, id);
CREATE INDEX jobs_finished_idx ON jobs (provider, status, finished_at, id) WHERE finished_at IS NOT NULL;
CREATE INDEX jobs_disputed_idx ON jobs (provider, status, accepted_at, id) WHERE disputed;
CREATE INDEX jobs_unmatched_idx ON jobs (provider, status, accepted_at, id) WHERE request_id IS NULL;
CREATE INDEX callbacks_list_idx ON callbacks (provider, verdict, received_at, id);

-- The providers that have rows, configured or not. Each provider costs one index lookup.
CREATE VIEW operations_with_requests AS
WITH RECURSIVE entry AS (
    (SELECT provider, operation FROM requests ORDER BY provider, operation LIMIT 1)
    UNION ALL
    SELECT next.provider, next.operation FROM entry CROSS JOIN LATERAL (
        SELECT provider, operation FROM requests WHERE (provider, operation) > (entry.provider, entry.operation)
        ORDER BY provider, operation LIMIT 1) AS next
)
SELECT provider, operation FROM entry;

CREATE VIEW providers_with_jobs AS
WITH RECURSIVE entry AS (
    (SELECT provider FROM jobs ORDER BY provider LIMIT 1)
    UNION ALL
    SELECT next.provider FROM entry CROSS JOIN LATERAL (
        SELECT provider FROM jobs WHERE provider > entry.provider ORDER BY provider LIMIT 1) AS next
)
SELECT provider FROM entry;

CREATE VIEW providers_with_callbacks AS
WITH RECURSIVE entry AS (
    (SELECT provider FROM callbacks ORDER BY provider LIMIT 1)
    UNION ALL
    SELECT next.provider FROM entry CROSS JOIN LATERAL (
        SELECT provider FROM callbacks WHERE provider > entry.provider ORDER BY provider LIMIT 1) AS next
)
SELECT provider FROM entry;

-- Return those of a worker's capacities that the worker may use: not for a provider that is paused or has refused the
-- worker's credentials.
CREATE FUNCTION open_capacities(capacities jsonb) RETURNS TABLE (
    provider text, free integer, limited boolean, held_until timestamptz, open_until timestamptz
) LANGUAGE sql STABLE AS $$
    SELECT capacity.provider, capacity.free, coalesce(state.limited, false), state.held_until, state.open_until
    FROM jsonb_to_recordset(capacities) AS capacity(provider text, free integer, credentials text)
    LEFT JOIN providers AS state ON state.name = capacity.provider
    WHERE state.paused_at IS NULL AND NOT EXISTS (
        SELECT FROM refused_credentials AS refusal
        WHERE refusal.provider = capacity.provider AND refusal.fingerprint = capacity.credentials)
$$;
