"""Documents: how the bytes of a callback become values that paths lead to, by the configured kind of its body.

The kind decides, whatever the media type. Bytes that are no text in the body's charset become lone surrogates, so that
they cannot spoil what is read beside them, and are never stored. Whatever the bytes are, the only error is
`UnreadableDocument`.
"""
