-- Callbacks without secrets, and refused callbacks by caller.
-- depends: 0002_nonces

-- The result of verification is stored with a callback: the callback itself no longer contains the secret that proved
-- its sender, so it cannot be verified again. Null in a row of an earlier release: verified unless `refused`.
ALTER TABLE callbacks ADD COLUMN verified boolean;

-- the fingerprint of the secret that matched, see `secret_uses`; null for a public key
ALTER TABLE callbacks ADD COLUMN secret_fingerprint text;

-- who sent the callback: the nearest hop that is not a trusted proxy
ALTER TABLE callbacks ADD COLUMN caller_address text;

-- Of refused callbacks, which of them stay in the sample; see `receiver.domain.samples`.
ALTER TABLE callbacks ADD COLUMN is_plausible boolean;
ALTER TABLE callbacks ADD COLUMN form text;

-- How many callbacks of configured providers were refused, by hour, reason and caller. Callers beyond the first ones of
-- an hour count together under an empty address.
CREATE TABLE callback_refusals (
    provider text NOT NULL,
    hour timestamptz NOT NULL,
    reason text NOT NULL,
    -- an IPv6 caller counts as its network of /64
    caller_address text NOT NULL,
    count bigint NOT NULL CHECK (count > 0),
    last_at timestamptz NOT NULL,
    PRIMARY KEY (provider, hour, reason, caller_address)
);
