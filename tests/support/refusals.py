"""A call that has to be refused in one sentence."""

import pytest


def refuse(call, error, *words):
    """The call raises that error; its message is one line and holds every word."""
    with pytest.raises(error) as caught:
        call()
    assert type(caught.value) is error
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message
