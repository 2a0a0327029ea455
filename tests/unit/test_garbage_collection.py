"""The garbage collector, in a process of its own."""

import subprocess
import sys

SCRIPT = """
import gc, weakref
from receiver.garbage_collection import limit_garbage_collection

class Node:
    pass

limit_garbage_collection()
node = Node()
node.itself = node
reference = weakref.ref(node)
del node
others = [[] for _ in range(20_000)]
print(gc.get_freeze_count() > 0, reference() is None)
"""


def test_loaded_objects_are_ignored_and_later_cycles_collected() -> None:
    run = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout == "True True\n"
