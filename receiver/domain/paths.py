"""Values that become a part of the path of a URL, such as a job's reference."""

import re

DOT_SEGMENT_PATTERN = r"(^|[/\\])\.{1,2}([/\\]|$)"
_DOT_SEGMENT = re.compile(DOT_SEGMENT_PATTERN)


def has_dot_segment(text: str) -> bool:
    r"""Return whether a text has a segment `.` or `..`, which leads to another path (RFC 3986, section 5.2.4).

    Percent-encoding does not help: servers decode `%2E` and `%2F` before they resolve a path, and some take `\` for a
    slash.
    """
    return _DOT_SEGMENT.search(text) is not None
