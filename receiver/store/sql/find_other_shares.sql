-- Return for each provider the number of other workers and the total of their slots.
SELECT provider, count(*)::integer AS workers, sum(slots)::integer AS slots FROM concurrency_shares
WHERE provider = ANY(%(names)s::text[]) AND worker_id <> %(worker_id)s AND expires_at > now()
GROUP BY provider
