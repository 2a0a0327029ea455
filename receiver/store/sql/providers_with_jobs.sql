-- The providers that jobs are known of, by hops along the index.
WITH RECURSIVE known AS (
    (SELECT provider FROM jobs ORDER BY provider LIMIT 1)
    UNION ALL
    SELECT next.provider FROM known CROSS JOIN LATERAL (
        SELECT provider FROM jobs WHERE provider > known.provider ORDER BY provider LIMIT 1) AS next
)
SELECT provider FROM known
