-- Keep a worker's shares for so many seconds, and forget those of workers that no longer renew theirs.
WITH given AS (
    SELECT provider, slots FROM jsonb_to_recordset(%(shares)s::jsonb) AS s(provider text, slots integer)
),
forgotten AS (
    DELETE FROM concurrency_shares AS shares USING given
    WHERE shares.provider = given.provider AND worker_id <> %(worker_id)s AND expires_at <= now()
)
INSERT INTO concurrency_shares AS shares (provider, worker_id, slots, expires_at)
SELECT provider, %(worker_id)s, slots, now() + make_interval(secs => %(lease)s) FROM given
ON CONFLICT (provider, worker_id) DO UPDATE SET slots = excluded.slots, expires_at = excluded.expires_at
