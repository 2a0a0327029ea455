-- Return the delivery that a duplicate repeats, which holds its body.
SELECT original.id FROM callbacks AS duplicate JOIN callbacks AS original
    ON original.identity = duplicate.identity AND original.verdict IN ('accepted', 'invalid', 'unmapped')
WHERE duplicate.id = %(id)s AND duplicate.verdict = 'duplicate' ORDER BY original.received_at LIMIT 1
