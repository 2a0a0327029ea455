"""Submissions and batches: their schemas and JSON Schemas accept the same bodies."""

from typing import Any

import pytest
from marshmallow import Schema

from receiver.schemas.api import requests
from tests.support.json_schemas import assert_schemas_agree

SUBMISSION = {"provider": "sandbox", "operation": "send", "payload": {}}
BODIES: list[tuple[Schema, Any, bool]] = [
    (requests.SubmissionSchema(), SUBMISSION | {"deadline": None}, True),
    (requests.SubmissionSchema(), SUBMISSION | {"metadata": None}, False),
    (requests.SubmissionSchema(), SUBMISSION | {"metadata": {"a": [{"b": "nul\0"}]}}, False),
    (requests.SubmissionSchema(), SUBMISSION | {"metadata": {"nul\0": 1}}, False),
    (requests.SubmissionSchema(), SUBMISSION | {"urgency": 1}, False),
    (requests.SubmissionSchema(), SUBMISSION | {"priority": 9}, True),
    (requests.SubmissionSchema(), SUBMISSION | {"priority": 1.0}, True),
    (requests.SubmissionSchema(), SUBMISSION | {"priority": 10}, False),
    (requests.SubmissionSchema(), SUBMISSION | {"priority": True}, False),
    (requests.SubmissionSchema(), SUBMISSION | {"priority": None}, False),
    (requests.BatchSchema(), {"requests": [SUBMISSION]}, True),
    (requests.BatchSchema(), {"requests": []}, False),
    (requests.BatchSchema(), {"requests": [SUBMISSION] * 1_001}, False),
]


@pytest.mark.parametrize(("schema", "body", "valid"), BODIES)
def test_body_schema_accepts_exactly_valid_bodies(schema: Schema, body: Any, valid: bool) -> None:
    assert_schemas_agree(schema, body, valid=valid)
