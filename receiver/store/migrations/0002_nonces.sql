-- The nonces of callbacks whose signature does not cover all of the callback: each is used for one callback only.
-- depends: 0001_baseline

CREATE TABLE nonces (
    provider text NOT NULL,
    -- derived from the nonce
    id uuid NOT NULL,
    -- derived from the callback: the same callback again is a duplicate, another one is rejected
    digest uuid NOT NULL,
    used_at timestamptz NOT NULL,
    PRIMARY KEY (provider, id)
);
