from receiver.domain.nested_errors import flatten_errors


def test_every_message_has_the_path_of_its_field() -> None:
    errors = {
        "payload": {"to": {"1": ["Not a valid string.", "Too short."]}},
        "provider": ["Unknown."],
        "text": "Too long.",
    }

    assert list(flatten_errors(errors)) == [
        ("payload.to.1", "Not a valid string."),
        ("payload.to.1", "Too short."),
        ("provider", "Unknown."),
        ("text", "Too long."),
    ]
    assert list(flatten_errors({})) == []
