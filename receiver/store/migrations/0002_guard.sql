-- What the guard at the callback endpoint saw: refused deliveries, for explanations, and when each secret last matched.

CREATE INDEX callbacks_refused ON callbacks (provider, received_at DESC) WHERE verdict = 'refused';

CREATE TABLE secret_uses (
    provider text NOT NULL,
    -- the first digits of the secret's SHA-256, never the secret
    fingerprint text NOT NULL,
    last_used_at timestamptz NOT NULL,
    PRIMARY KEY (provider, fingerprint)
);
