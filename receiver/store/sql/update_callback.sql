-- Store the new identity and verdict of a callback that was parsed again, and the new identity of its duplicates. If
-- another delivery of the same callback already has that verdict, the callback becomes a duplicate of it.
WITH previous AS (
    SELECT identity, verdict FROM callbacks WHERE id = %(id)s
),
updated_duplicates AS (
    UPDATE callbacks SET identity = %(identity)s FROM previous
    WHERE callbacks.identity = previous.identity AND callbacks.verdict = 'duplicate' AND previous.verdict <> 'refused'
        AND previous.identity <> %(identity)s
)
UPDATE callbacks SET
    identity = %(identity)s,
    verdict = CASE WHEN original.id IS NULL THEN %(verdict)s ELSE 'duplicate' END,
    errors = CASE WHEN original.id IS NULL THEN %(errors)s::jsonb END,
    body = CASE WHEN original.id IS NULL THEN callbacks.body END
FROM (SELECT 1) AS singleton LEFT JOIN callbacks AS original
    ON original.identity = %(identity)s AND original.verdict = %(verdict)s AND original.id <> %(id)s
WHERE callbacks.id = %(id)s
