"""The contract's assertions are rewritten by pytest as those of the tests are, so that a failure shows the values."""

import pytest

pytest.register_assert_rewrite("bitmm.xwrap.testing.exchange_contract")
