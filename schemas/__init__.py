"""Marshmallow schemas of the settings, of our API, and of the responses and callbacks of providers."""
