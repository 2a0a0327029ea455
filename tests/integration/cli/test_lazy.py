"""Commands are imported only when they are called."""

import subprocess
import sys


def test_api_commands_import_no_database_driver() -> None:
    source = (
        "import sys; from receiver.cli.main import commands\n"
        "for name in ('job', 'request', 'callback', 'provider', 'key'):\n"
        "    commands.main([name, 'list', '--help'], standalone_mode=False)\n"
        "assert not {'psycopg', 'flask', 'receiver.store'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", source], check=True, stdout=subprocess.DEVNULL, timeout=30)
