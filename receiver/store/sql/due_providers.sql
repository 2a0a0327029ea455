-- name: list_providers_with_due_requests
-- Return the providers for which a request is due, whether or not it may begin. Each provider with queued requests costs
-- two index lookups, the others nothing.
WITH RECURSIVE entry AS (
    (SELECT provider FROM requests WHERE status = 'queued' ORDER BY provider LIMIT 1)
    UNION ALL
    SELECT next.provider FROM entry CROSS JOIN LATERAL (
        SELECT provider FROM requests WHERE status = 'queued' AND provider > entry.provider
        ORDER BY provider LIMIT 1) AS next
)
SELECT provider FROM entry WHERE EXISTS (
    SELECT FROM requests WHERE status = 'queued' AND requests.provider = entry.provider AND due_at <= now())

-- name: list_providers_with_due_polls
-- Return the providers for which a poll is due, as list_providers_with_due_requests does.
WITH RECURSIVE entry AS (
    (SELECT provider FROM jobs WHERE poll_at IS NOT NULL ORDER BY provider LIMIT 1)
    UNION ALL
    SELECT next.provider FROM entry CROSS JOIN LATERAL (
        SELECT provider FROM jobs WHERE poll_at IS NOT NULL AND provider > entry.provider
        ORDER BY provider LIMIT 1) AS next
)
SELECT provider FROM entry WHERE EXISTS (
    SELECT FROM jobs WHERE jobs.provider = entry.provider AND poll_at <= now())

-- name: list_providers_with_due_lookups
-- Return the providers for which a lookup is due, as list_providers_with_due_requests does.
WITH RECURSIVE entry AS (
    (SELECT provider FROM requests WHERE next_lookup_at IS NOT NULL ORDER BY provider LIMIT 1)
    UNION ALL
    SELECT next.provider FROM entry CROSS JOIN LATERAL (
        SELECT provider FROM requests WHERE next_lookup_at IS NOT NULL AND provider > entry.provider
        ORDER BY provider LIMIT 1) AS next
)
SELECT provider FROM entry WHERE EXISTS (
    SELECT FROM requests WHERE requests.provider = entry.provider AND next_lookup_at <= now())
