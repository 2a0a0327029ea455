-- Erased data: when the payload of a request or the raw data of a callback was erased, and how far the retention of
-- each provider has come.
-- depends: 0009_reused_references_indexes

ALTER TABLE requests ADD COLUMN erased_at timestamptz;

-- The payload of a request that was erased is null. No release sends such a request: it has a final status, and only a
-- request with a payload can be retried.
-- squawk-ignore ban-drop-not-null
ALTER TABLE requests ALTER COLUMN payload DROP NOT NULL;

-- The body of a callback that was erased is empty, as are its target and its headers.
ALTER TABLE callbacks ADD COLUMN erased_at timestamptz;

-- Up to which row each provider's data has been examined: requests by creation, callbacks by receipt.
CREATE TABLE retention_progress (
    provider text NOT NULL,
    -- a key of the provider's `retention`
    kind text NOT NULL CHECK (kind IN ('payloads', 'responses', 'bodies')),
    after timestamptz NOT NULL,
    after_id uuid NOT NULL,
    PRIMARY KEY (provider, kind)
);

-- Requests that were examined and have not been finished for long enough.
CREATE TABLE retention_queue (
    kind text NOT NULL CHECK (kind IN ('payloads', 'responses')),
    request_id uuid NOT NULL,
    provider text NOT NULL,
    check_at timestamptz NOT NULL,
    PRIMARY KEY (kind, request_id)
);
CREATE INDEX retention_queue_idx ON retention_queue (provider, kind, check_at);
