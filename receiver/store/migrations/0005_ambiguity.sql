-- Requests of which nobody knows whether they were taken: asked about at the provider, or claimed by a callback.
-- depends: 0004_limits

ALTER TABLE requests
    -- a job of it is known although none of its answers was understood so: it is not sent again
    ADD COLUMN taken boolean NOT NULL DEFAULT false,
    -- when its provider is asked next what became of it; the lease while it is asked
    ADD COLUMN ask_at timestamptz,
    ADD COLUMN asked integer NOT NULL DEFAULT 0,
    -- since when it is asked about, and how often the provider did not know it
    ADD COLUMN doubted_at timestamptz,
    ADD COLUMN not_found integer NOT NULL DEFAULT 0,
    ADD CONSTRAINT asked_while_unknown CHECK (ask_at IS NULL OR (status = 'unknown' AND doubted_at IS NOT NULL));
CREATE INDEX requests_to_ask ON requests (provider, ask_at) WHERE ask_at IS NOT NULL;
