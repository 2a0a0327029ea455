-- Of each provider asked for, how much needs somebody. Each kind is counted by itself along the index of its list, so
-- that it costs as much as there is of it.
SELECT wanted.name AS name,
    (SELECT count(*) FROM jobs WHERE provider = wanted.name AND request_id IS NULL) AS unmatched,
    (SELECT count(*) FROM callbacks WHERE provider = wanted.name AND verdict = 'unmapped') AS unmapped,
    (SELECT count(*) FROM callbacks WHERE provider = wanted.name AND verdict = 'invalid') AS invalid,
    (SELECT count(*) FROM jobs WHERE provider = wanted.name AND disputed) AS disputed,
    (SELECT count(*) FROM jobs WHERE provider = wanted.name AND status = 'unresolved') AS unresolved,
    (SELECT count(*) FROM operations_with_requests AS known CROSS JOIN LATERAL (
        SELECT FROM requests
        WHERE provider = known.provider AND operation = known.operation AND status = 'unknown') AS each
        WHERE known.provider = wanted.name) AS unknown
FROM unnest(%(names)s::text[]) AS wanted(name)
