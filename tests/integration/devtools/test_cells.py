"""Cells: each in a schema of its own, with a proxy that routes callbacks by provider and all else by host."""

import os
import re
import shutil
import socket
import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from receiver.devtools.cells import Cell, InvalidCell, build_nginx_map, commands, create_cell, parse_cells
from receiver.store.connections import connect
from receiver.store.migrate import migrate
from tests.acceptance.guides import parse_blocks, read_guide
from tests.support.http import Server, build_report
from tests.support.pgbouncer import pgbouncer
from tests.support.ports import find_free_port
from tests.support.processes import ADMIN_KEY, Web, build_provider_toml, running_web, wait_for

NGINX = shutil.which("nginx", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))
NGINX_CONFIG = """
pid {home}/nginx.pid;
error_log {home}/nginx.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {home};
    proxy_temp_path {home};
    fastcgi_temp_path {home};
    uwsgi_temp_path {home};
    scgi_temp_path {home};
    include {home}/cells.conf;
    {server}
}}
"""


def count_jobs(dsn: str) -> int:
    with closing(connect(dsn)) as connection:
        ((count,),) = connection.execute("SELECT count(*) FROM jobs").fetchall()
    return int(count)


@contextmanager
def running_nginx(home: Path, cells: list[Cell]) -> Iterator[Server]:
    """Run nginx in front of cells."""
    assert NGINX
    port = find_free_port()
    server = read_block("nginx").replace("listen 80;", f"listen 127.0.0.1:{port};")
    home.mkdir()
    (home / "cells.conf").write_text(build_nginx_map(cells))
    (home / "nginx.conf").write_text(NGINX_CONFIG.format(home=home, server=server))
    command = [NGINX, "-e", str(home / "nginx.log"), "-c", str(home / "nginx.conf"), "-g", "daemon off;"]
    if os.geteuid() == 0:
        command[-1] += " user root;"
    with subprocess.Popen(command) as process:
        try:
            wait_for(lambda: is_listening(port))
            yield Server("127.0.0.1", port)
        finally:
            process.terminate()


def read_block(language: str) -> str:
    """Return the block of docs/scaling.md in a language."""
    (block,) = [block.text for block in parse_blocks(read_guide("docs/scaling.md")) if block.language == language]
    return block


def is_listening(port: int) -> bool:
    with closing(socket.socket()) as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_cells_have_schemas_of_their_own(empty_database: str) -> None:
    dsns = [create_cell(empty_database, name) for name in ("eu", "us")]

    assert [conninfo_to_dict(dsn)["user"] for dsn in dsns] == ["eu", "us"]
    with closing(connect(empty_database)) as connection:
        counts = connection.execute(
            """SELECT schemaname, count(*) FROM pg_tables WHERE tablename = 'jobs' GROUP BY schemaname ORDER BY 1"""
        ).fetchall()
    assert counts == [("eu", 1), ("us", 1)]
    assert migrate(dsns[0]) == []
    with closing(connect(dsns[0])) as connection:
        assert connection.execute("SELECT has_schema_privilege('us', 'usage')").fetchone() == (False,)
    assert create_cell(empty_database, "eu") == dsns[0]


def test_command_of_guide_creates_cell(empty_database: str) -> None:
    command, output = read_block("console").splitlines()
    variables, arguments = command.split(" python -m receiver.devtools.cells ")
    environ = {"DATABASE_URL": make_conninfo(empty_database, password="of the creator"), "CELL_PASSWORD": "of the cell"}
    assert re.findall(r"(\w+)=\S+(?: |$)", variables) == list(environ)
    result = CliRunner().invoke(commands, arguments.split(), env=environ)

    assert result.exit_code == 0, result.output
    assert "password" not in result.output
    assert conninfo_to_dict(result.output.strip())["user"] == conninfo_to_dict(output)["user"]
    assert count_jobs(result.output.strip()) == 0


@pytest.mark.slow
@pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
def test_proxy_routes_callbacks_to_the_cell_of_their_provider(empty_database: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        dsns = {name: create_cell(empty_database, name) for name in ("eu", "us")}
        # One of the cells is behind PgBouncer in transaction mode.
        pooled = {**dsns, "us": stack.enter_context(pgbouncer(dsns["us"], "transaction")).dsn}
        webs = {name: stack.enter_context(running_cell(tmp_path / name, dsn)) for name, dsn in pooled.items()}
        cells = [Cell(name, [f"{web.host}:{web.port}"], [f"sms-{name}"]) for name, web in webs.items()]
        proxy = stack.enter_context(running_nginx(tmp_path / "nginx", cells))

        for provider in ("sms-eu", "sms-us", "sms-us"):
            assert proxy.call_back(build_report(f"job {count_jobs(dsns['us'])}"), provider).status == 200
        assert {name: count_jobs(dsn) for name, dsn in dsns.items()} == {"eu": 1, "us": 2}

        assert proxy.call_back(build_report("lost"), "sms-apac").status == 404
        for name, count in (("eu", 1), ("us", 2)):
            headers = {"Host": f"{name}.receiver.example", "Authorization": f"Bearer {ADMIN_KEY}"}
            assert len(proxy.call("GET", "/v1/jobs", headers=headers).json["items"]) == count


@contextmanager
def running_cell(directory: Path, dsn: str) -> Iterator[Web]:
    directory.mkdir()
    config = build_provider_toml(f"sms-{directory.name}")
    with socket.create_server(("127.0.0.1", 0)) as listener, running_web(directory, dsn, config, listener) as web:
        yield web


def test_provider_of_two_cells_is_refused() -> None:
    cell = {"web": ["127.0.0.1:8001"], "providers": ["sms"]}
    with pytest.raises(InvalidCell, match=r"cells\.us\.providers: sms belongs to eu already"):
        parse_cells({"cells": {"eu": cell, "us": cell}})


@pytest.mark.parametrize("web", [[], ["127.0.0.1:1; include /etc/passwd"], [8000]])
def test_invalid_address_of_cell_is_refused(web: list[object]) -> None:
    with pytest.raises(InvalidCell, match=r"cells\.eu\.web: must be addresses"):
        parse_cells({"cells": {"eu": {"web": web}}})


def test_invalid_name_of_cell_is_refused(empty_database: str) -> None:
    with pytest.raises(InvalidCell, match="'EU-1' is no name of a cell"):
        create_cell(empty_database, "EU-1")


def test_cells_of_guide_are_parsed() -> None:
    cells = parse_cells(tomllib.loads(read_block("toml")))
    assert [(cell.name, cell.providers) for cell in cells] == [("eu", ["sms", "mobile-money"]), ("us", ["video"])]


def test_route_prints_map_for_nginx(tmp_path: Path) -> None:
    file = tmp_path / "cells.toml"
    file.write_text('[cells.eu]\nweb = ["127.0.0.1:8001", "unix:/run/eu"]\nproviders = ["sms", "acme.io"]\n')

    assert CliRunner().invoke(commands, ["route", str(file)]).output.splitlines() == [
        "upstream receiver_eu {",
        "    server 127.0.0.1:8001;",
        "    server unix:/run/eu;",
        "    keepalive 64;",
        "}",
        "",
        'map "$host$request_uri" $receiver_cell {',
        '    "~^[^/]*/callbacks/sms(?:[/?]|$)" receiver_eu;',
        '    "~^[^/]*/callbacks/acme\\.io(?:[/?]|$)" receiver_eu;',
        '    "~^eu\\.[^/]*/(?!callbacks/)" receiver_eu;',
        "}",
    ]
