-- What operators did to a subject, in order.
SELECT at, by, action, reason FROM actions WHERE subject = %(subject)s ORDER BY at, id
