-- Access tokens that all workers share; see `receiver.exchange.access_tokens`.
-- depends: 0007_notifications_of_jobs

CREATE TABLE access_tokens (
    provider text NOT NULL,
    -- of the credentials that the token was issued for
    fingerprint text NOT NULL,
    -- counts the tokens; 0 before the first one
    version bigint NOT NULL DEFAULT 0,
    -- encrypted under a key derived from RECEIVER_SECRET_KEY
    token bytea,
    renew_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL DEFAULT now(),
    -- when the provider last refused a token that had not expired
    refused_at timestamptz,
    -- which worker renews the token, and until when nobody else does
    lease_id uuid,
    leased_until timestamptz NOT NULL DEFAULT now(),
    -- why the last renewal failed, and when the next one may be tried
    failure text,
    is_refusal boolean NOT NULL DEFAULT false,
    failures integer NOT NULL DEFAULT 0,
    retry_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (provider, fingerprint)
);
