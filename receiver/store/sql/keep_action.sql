-- Keep what an operator did.
INSERT INTO actions (id, subject, action, at, by, reason)
VALUES (%(id)s, %(subject)s, %(action)s, now(), %(by)s, %(reason)s)
