-- The house's tables: providers, requests with their attempts, callbacks, jobs with their events.
-- depends:

CREATE TABLE providers (
    name text PRIMARY KEY,
    paused_at timestamptz,
    pause_reason text,
    CHECK ((paused_at IS NULL) = (pause_reason IS NULL))
);

CREATE TABLE requests (
    id uuid PRIMARY KEY,
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
    -- attempts that count against the retry policy, and whether one of them may have been acted on unseen
    failures integer NOT NULL DEFAULT 0 CHECK (failures BETWEEN 0 AND attempts),
    ambiguous boolean NOT NULL DEFAULT false,
    CONSTRAINT due_while_queued CHECK ((due_at IS NOT NULL) = (status = 'queued')),
    CONSTRAINT leased_while_sending CHECK ((leased_until IS NOT NULL) = (status = 'sending')),
    CONSTRAINT finished_when_over CHECK ((finished_at IS NOT NULL) =
        (status IN ('completed', 'rejected', 'failed', 'cancelled')))
);
CREATE INDEX requests_due ON requests (provider, due_at) WHERE status = 'queued';
CREATE INDEX requests_overdue ON requests (deadline_at) WHERE status = 'queued';
CREATE INDEX requests_leased ON requests (leased_until) WHERE status = 'sending';

CREATE TABLE attempts (
    id uuid PRIMARY KEY,
    request_id uuid NOT NULL REFERENCES requests ON DELETE CASCADE,
    number integer NOT NULL CHECK (number > 0),
    started_at timestamptz NOT NULL,
    finished_at timestamptz,
    answer_status smallint CHECK (answer_status BETWEEN 100 AND 999),
    answer_headers jsonb,
    answer_body bytea,
    error text,
    UNIQUE (request_id, number),
    CONSTRAINT answered_or_failed CHECK (finished_at IS NULL OR answer_status IS NOT NULL OR error IS NOT NULL)
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
    -- a duplicate's body is that of the first delivery with the same identity
    body bytea,
    errors jsonb,
    CONSTRAINT body_unless_duplicate CHECK ((body IS NULL) = (verdict = 'duplicate')),
    CONSTRAINT errors_when_invalid CHECK (verdict <> 'invalid' OR errors IS NOT NULL)
);
CREATE UNIQUE INDEX callbacks_once ON callbacks (identity, verdict)
    WHERE verdict IN ('accepted', 'invalid', 'unmapped');

CREATE TABLE jobs (
    id uuid PRIMARY KEY,
    provider text NOT NULL,
    reference text NOT NULL,
    request_id uuid,
    status text NOT NULL CHECK (status IN ('accepted', 'in_progress', 'unresolved', 'succeeded', 'failed')),
    precedence smallint NOT NULL CHECK (precedence IN (0, 10, 20, 30, 40, 50, 60)),
    disputed boolean NOT NULL DEFAULT false,
    -- receive time and key of the event that stands
    decided_at timestamptz NOT NULL,
    decided_by uuid NOT NULL,
    accepted_at timestamptz NOT NULL,
    finished_at timestamptz,
    deadline_at timestamptz NOT NULL,
    poll_at timestamptz,
    polls integer NOT NULL DEFAULT 0,
    location text,
    CONSTRAINT finished_when_final CHECK ((finished_at IS NOT NULL) = (status IN ('succeeded', 'failed'))),
    CONSTRAINT open_while_polled CHECK (poll_at IS NULL OR finished_at IS NULL),
    CONSTRAINT precedence_of_status CHECK (precedence = 60 OR CASE status
        WHEN 'accepted' THEN precedence IN (0, 10)
        WHEN 'in_progress' THEN precedence = 20
        WHEN 'unresolved' THEN precedence = 30
        ELSE precedence IN (40, 50) END)
);
CREATE INDEX jobs_of_request ON jobs (request_id) WHERE request_id IS NOT NULL;
CREATE INDEX jobs_to_poll ON jobs (provider, poll_at) WHERE poll_at IS NOT NULL;
CREATE INDEX jobs_overdue ON jobs (deadline_at) WHERE status IN ('accepted', 'in_progress');

CREATE TABLE events (
    job_id uuid NOT NULL REFERENCES jobs ON DELETE CASCADE,
    key uuid NOT NULL,
    source text NOT NULL CHECK (source IN ('answer', 'callback', 'poll', 'operator', 'clock')),
    status text CHECK (status IN ('accepted', 'in_progress', 'unresolved', 'succeeded', 'failed')),
    precedence smallint NOT NULL CHECK ((precedence = 0) = (status IS NULL)),
    provider_status text,
    code text,
    detail text,
    occurred_at timestamptz,
    received_at timestamptz NOT NULL,
    callback_id uuid,
    request_id uuid,
    PRIMARY KEY (job_id, key)
);
