-- Actions on many requests at once: the requests of a preview, and how far the action has got.
-- depends: 0005_requests_of_clients

CREATE TABLE bulk_actions (
    -- the token of the preview
    id uuid PRIMARY KEY,
    client text NOT NULL,
    -- SHA-256 of the action and the filter of the preview
    digest bytea NOT NULL,
    -- in the order in which all transactions lock requests
    request_ids uuid[] NOT NULL,
    processed integer NOT NULL DEFAULT 0,
    -- how many of the processed requests the action changed
    applied integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT bulk_actions_counts_check CHECK (0 <= applied AND applied <= processed)
);
