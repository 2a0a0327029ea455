-- Return for each of the named providers how many rows need attention, by kind. Each kind is counted separately along
-- the index of its list, so that the cost is proportional to the count.
SELECT provider.name AS name,
    (SELECT count(*) FROM jobs WHERE jobs.provider = provider.name AND request_id IS NULL) AS unmatched,
    (SELECT count(*) FROM callbacks WHERE callbacks.provider = provider.name AND verdict = 'unmapped') AS unmapped,
    (SELECT count(*) FROM callbacks WHERE callbacks.provider = provider.name AND verdict = 'invalid') AS invalid,
    (SELECT count(*) FROM jobs WHERE jobs.provider = provider.name AND disputed) AS disputed,
    (SELECT count(*) FROM jobs WHERE jobs.provider = provider.name AND status = 'unresolved') AS unresolved,
    (SELECT count(*) FROM operations_with_requests AS source CROSS JOIN LATERAL (
        SELECT FROM requests
        WHERE requests.provider = source.provider AND requests.operation = source.operation
            AND status = 'unknown') AS request
        WHERE source.provider = provider.name) AS unknown
FROM unnest(%(names)s::text[]) AS provider(name)
