"""Cecula's three APIs: SMS broadcasts with a status code for each recipient, and delivery reports."""
