"""What the cases share."""

import pytest


@pytest.fixture(scope="session")
def token(client):
    """The id of a text that is one token."""

    def find(text: str) -> int:
        (found,) = client.tokenize(text)
        return found

    return find
