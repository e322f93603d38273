import pytest

from anomalybench.core import registry
from anomalybench.testing import check_method


@pytest.mark.parametrize("name", registry.plugins("methods"))
def test_every_method_keeps_the_contract(name):
    check_method(name)
