"""Changes of signed content that a signature must not survive."""


def change_character(text: str, position: int, delta: int) -> str:
    """Return a text with the code of one character changed by `delta`, within latin-1."""
    position %= len(text)
    return text[:position] + chr((ord(text[position]) + delta) % 256) + text[position + 1 :]


def flip_byte(data: bytes, position: int, delta: int) -> bytes:
    """Return data with one byte changed by `delta`."""
    position %= len(data)
    return data[:position] + bytes([(data[position] + delta) % 256]) + data[position + 1 :]
