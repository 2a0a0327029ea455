"""Numbers of things, in words for people."""


def format_count(number: int, noun: str) -> str:
    """Return a number with its noun, such as "1 event" or "2,000 events"; the plural of the noun must end with an s."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
