"""Fixtures that run a test once for every backend that can be used here."""

import pytest

from fastnn import backends

COMPILED = [name for name in backends.available() if name != "reference"]


@pytest.fixture(params=backends.available())
def backend(request):
    """Return every backend in turn."""
    return backends.get(request.param)


@pytest.fixture(params=COMPILED)
def compiled(request):
    """Return every backend in turn that promises more than the reference: equal bits, for one."""
    return backends.get(request.param)
