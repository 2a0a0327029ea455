-- Which credentials providers refused: what was refused is sent no more, whoever else may still send.
-- depends: 0003_api

CREATE TABLE refused_credentials (
    provider text NOT NULL,
    -- an iterated hash of the credentials, never the credentials; empty for a provider that is asked without any
    fingerprint text NOT NULL,
    refused_at timestamptz NOT NULL,
    reason text NOT NULL,
    -- when a worker that has other credentials took over; null while nobody has any that are not refused
    lifted_at timestamptz,
    PRIMARY KEY (provider, fingerprint)
);
