-- Keep refused deliveries, and of each provider only the newest.
WITH kept AS (
    INSERT INTO callbacks (id, identity, provider, received_at, verdict, method, target, headers, body, errors)
    SELECT id, identity, provider, received_at, verdict, method, target, headers, decode(body, 'base64'), errors
    FROM jsonb_to_recordset(%(callbacks)s::jsonb) AS c(
        id uuid, identity uuid, provider text, received_at timestamptz, verdict text, method text, target text,
        headers jsonb, body text, errors jsonb)
    RETURNING provider
)
DELETE FROM callbacks WHERE id IN (
    SELECT older.id FROM (SELECT DISTINCT provider FROM kept) AS p CROSS JOIN LATERAL (
        SELECT id FROM callbacks WHERE provider = p.provider AND verdict = 'refused'
        ORDER BY received_at DESC OFFSET %(most)s
    ) AS older
)
