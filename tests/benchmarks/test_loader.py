"""The loader: its rows are those that the service would store."""

from pathlib import Path

from receiver.cli.callback_reader import ConfiguredCallbackReader
from receiver.domain.audit import Subject
from receiver.domain.jobs import derive_job_id
from receiver.followup.audit import Audit
from receiver.store.connections import Connection
from receiver.store.database import Database
from tests.benchmarks.loader import load_jobs
from tests.support.factories import provider, settings
from tests.support.population import derive_request_id, format_reference

JOBS = 2_000


def test_loaded_rows_are_those_of_the_service(dsn: str, database: Database, connection: Connection) -> None:
    load_jobs(dsn, JOBS)

    audit = Audit(database, ConfiguredCallbackReader(settings(dsn, Path(), {"sandbox": provider()})))
    assert [finding for findings in audit.run() for finding in findings] == []
    assert audit.counts[Subject.JOB] == JOBS
    suspended = connection.execute("SELECT count(*) FROM pg_index WHERE NOT (indisready AND indisvalid)").fetchall()
    assert suspended == [(0,)]
    jobs = connection.execute("SELECT id, provider, request_id FROM jobs WHERE reference = %s", [format_reference(105)])
    [(job_id, provider_name, request_id)] = jobs.fetchall()
    assert job_id == derive_job_id(provider_name, format_reference(105))
    assert request_id == derive_request_id(105, JOBS)
