"""Flask: the app factory, the callback endpoint, `/v1`, health, and gunicorn's settings."""
