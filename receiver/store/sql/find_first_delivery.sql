-- The delivery that a duplicate repeats, which holds its body.
SELECT first.id FROM callbacks AS asked JOIN callbacks AS first
    ON first.identity = asked.identity AND first.verdict IN ('accepted', 'invalid', 'unmapped')
WHERE asked.id = %(id)s AND asked.verdict = 'duplicate' ORDER BY first.received_at LIMIT 1
