"""Refusals of the endpoint. Goal: every error of the service's models can be answered, with the model's status."""

import pytest
from unit.service_models import modelled_errors

from kvspic.local.errors import ServiceError


@pytest.mark.parametrize("name, status", sorted(modelled_errors().items()))
def test_each_error_of_the_models_has_its_status(name, status):
    assert ServiceError(name, "why").status == status
