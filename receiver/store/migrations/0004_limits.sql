-- What all workers agree on about how much a provider is sent: pace, rate, circuit, and each worker's share.
-- depends: 0003_api

ALTER TABLE providers
    -- exchanges a second, null for what is configured, and what it was lowered from
    ADD COLUMN rate double precision CHECK (rate > 0),
    ADD COLUMN full_rate double precision,
    ADD COLUMN rated_at timestamptz,
    ADD COLUMN held_until timestamptz,
    ADD COLUMN next_slot_at timestamptz,
    ADD COLUMN failures integer NOT NULL DEFAULT 0 CHECK (failures >= 0),
    ADD COLUMN openings integer NOT NULL DEFAULT 0 CHECK (openings >= 0),
    ADD COLUMN open_until timestamptz,
    ADD COLUMN probing boolean NOT NULL DEFAULT false,
    -- whether a claim must take slots even if nothing is configured
    ADD COLUMN limited boolean NOT NULL GENERATED ALWAYS AS
        (rate IS NOT NULL OR held_until IS NOT NULL OR open_until IS NOT NULL) STORED,
    ADD CONSTRAINT opened_while_open CHECK ((open_until IS NULL) = (openings = 0)),
    ADD CONSTRAINT open_while_probed CHECK (open_until IS NOT NULL OR NOT probing);

-- How many of a provider's exchanges each worker may have under way; one that does not renew its share loses it.
CREATE TABLE shares (
    provider text NOT NULL,
    worker_id uuid NOT NULL,
    slots integer NOT NULL CHECK (slots >= 0),
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (provider, worker_id)
);
