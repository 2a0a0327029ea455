-- Give a callback that was read again its new identity and verdict; its duplicates go with it. Where another delivery of
-- the same callback has that verdict already, it becomes its duplicate.
WITH before AS (
    SELECT identity, verdict FROM callbacks WHERE id = %(id)s
),
duplicates AS (
    UPDATE callbacks SET identity = %(identity)s FROM before
    WHERE callbacks.identity = before.identity AND callbacks.verdict = 'duplicate' AND before.verdict <> 'refused'
        AND before.identity <> %(identity)s
)
UPDATE callbacks SET
    identity = %(identity)s,
    verdict = CASE WHEN twin.id IS NULL THEN %(verdict)s ELSE 'duplicate' END,
    errors = CASE WHEN twin.id IS NULL THEN %(errors)s::jsonb END,
    body = CASE WHEN twin.id IS NULL THEN callbacks.body END
FROM (SELECT 1) AS one LEFT JOIN callbacks AS twin
    ON twin.identity = %(identity)s AND twin.verdict = %(verdict)s AND twin.id <> %(id)s
WHERE callbacks.id = %(id)s
