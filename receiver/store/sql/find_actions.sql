-- What operators did to a subject, in order.
SELECT created_at, actor, action, reason FROM actions WHERE subject = %(subject)s ORDER BY created_at, id
