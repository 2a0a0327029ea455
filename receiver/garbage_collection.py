"""How often a process looks for garbage that reference counts do not find."""

import gc

_THRESHOLD = 10_000


def limit_garbage_collection() -> None:
    """Collect garbage less often; call this once everything is loaded that lives as long as the process.

    Each batch makes hundreds of objects that live until the batch is recorded. With Python's threshold of 700 the
    collector would look at them again and again, and at all that was imported, and find nothing.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_THRESHOLD)
