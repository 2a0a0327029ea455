"""The web process: the app factory, the callback endpoint, `/v1`, health, metrics, and gunicorn's settings."""
