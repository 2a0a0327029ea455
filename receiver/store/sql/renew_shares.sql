-- Insert or renew a worker's shares for `lease` seconds, and delete the shares of workers that no longer renew them.
WITH input AS (
    SELECT provider, slots FROM jsonb_to_recordset(%(shares)s::jsonb) AS share(provider text, slots integer)
),
deleted_shares AS (
    DELETE FROM concurrency_shares AS share USING input
    WHERE share.provider = input.provider AND worker_id <> %(worker_id)s AND expires_at <= now()
)
INSERT INTO concurrency_shares AS share (provider, worker_id, slots, expires_at)
SELECT provider, %(worker_id)s, slots, now() + make_interval(secs => %(lease)s) FROM input
ON CONFLICT (provider, worker_id) DO UPDATE SET slots = excluded.slots, expires_at = excluded.expires_at
