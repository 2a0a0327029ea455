-- Return the actions on a subject, oldest first.
SELECT created_at, actor, action, reason FROM actions WHERE subject = %(subject)s ORDER BY created_at, id
