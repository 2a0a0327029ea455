-- Which credentials providers refused: what was refused is sent no more, whoever else may still send.
-- depends: 0007_notify

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

-- Of the lanes of a worker, those in which something may be sent: not to a provider that is paused, nor with credentials
-- that it refused.
CREATE FUNCTION open_lanes(lanes jsonb) RETURNS TABLE (
    provider text, capacity integer, limited boolean, held_until timestamptz, open_until timestamptz
) LANGUAGE sql STABLE AS $$
    SELECT lane.provider, lane.capacity, coalesce(known.limited, false), known.held_until, known.open_until
    FROM jsonb_to_recordset(lanes) AS lane(provider text, capacity integer, credentials text)
    LEFT JOIN providers AS known ON known.name = lane.provider
    WHERE known.paused_at IS NULL AND NOT EXISTS (
        SELECT FROM refused_credentials AS refused
        WHERE refused.provider = lane.provider AND refused.fingerprint = lane.credentials)
$$;
