-- Insert refused callbacks, and delete all but the newest `max_per_provider` of each provider.
WITH inserted_callbacks AS (
    INSERT INTO callbacks (id, identity, provider, received_at, verdict, method, target, headers, body, errors)
    SELECT id, identity, provider, received_at, verdict, method, target, headers, decode(body, 'base64'), errors
    FROM jsonb_to_recordset(%(callbacks)s::jsonb) AS input(
        id uuid, identity uuid, provider text, received_at timestamptz, verdict text, method text, target text,
        headers jsonb, body text, errors jsonb)
    RETURNING provider
)
DELETE FROM callbacks WHERE id IN (
    SELECT surplus.id FROM (SELECT DISTINCT provider FROM inserted_callbacks) AS source CROSS JOIN LATERAL (
        SELECT id FROM callbacks WHERE provider = source.provider AND verdict = 'refused'
        ORDER BY received_at DESC OFFSET %(max_per_provider)s
    ) AS surplus
)
