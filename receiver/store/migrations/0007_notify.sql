-- Clients may name a URL to be told at when their request is over.
-- depends: 0006_repair

ALTER TABLE requests
    ADD COLUMN notify_url text,
    -- SHA-256 of the end that was last told, see untold_requests.sql
    ADD COLUMN told bytea;

-- Whether the job's request has a notify_url, copied when the two are tied: what ends a job then need not look.
ALTER TABLE jobs ADD COLUMN notify boolean NOT NULL DEFAULT false;

-- Requests that may have come to an end that is to be told: written in the transaction that changed them, taken in
-- order by the workers. There is no unique key, so that nobody who writes one waits for another.
CREATE TABLE notices (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    request_id uuid NOT NULL
);
