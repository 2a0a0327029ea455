"""The kinds of providers: each composes requests, interprets responses and parses callbacks. No I/O, no clock."""
