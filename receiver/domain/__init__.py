"""The rules of the domain: pure functions and values. No I/O and no clock; the current time is always a parameter."""
