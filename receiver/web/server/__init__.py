"""The gunicorn worker, and the limits of what a stranger can make it do before a request is complete.

`worker` reads requests, `connection` is the socket of one of them, and `connections` decides which one is cut: by
`deadlines`, by the `memory` that requests hold, and by the number of `waiting_connections`. `fairness` keeps one
connection from delaying the others.

gunicorn's master imports these modules before it forks, so they import neither Flask nor psycopg; see `gunicorn_conf`.
"""
