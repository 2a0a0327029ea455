"""Marshmallow schemas: settings, our API's bodies, and each provider's answers and callbacks."""
