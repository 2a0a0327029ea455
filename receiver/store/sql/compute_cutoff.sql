-- Return the time `seconds` seconds ago, by the database's clock.
SELECT now() - make_interval(secs => %(seconds)s)
