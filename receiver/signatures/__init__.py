"""Schemes that authenticate callbacks: pure functions of raw bytes, secrets and the receive time."""
