-- Lock and return attempts whose lease has expired: their worker died or hangs.
SELECT attempts.id, requests.id AS request_id, provider, operation, payload, failures, ambiguous, deadline_at,
    started_at, notify_url IS NOT NULL AS notify
FROM requests JOIN attempts ON attempts.request_id = requests.id AND attempts.number = requests.attempts
WHERE requests.status = 'sending' AND leased_until < now()
ORDER BY leased_until LIMIT %(limit)s
FOR UPDATE OF requests SKIP LOCKED
