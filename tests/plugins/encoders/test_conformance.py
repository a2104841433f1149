"""Encoders of others keep the promises that plugins are checked for."""

import pytest

import zoo
from zoo import testing


@pytest.mark.parametrize("scheme", ["openphenom", "channelvit", "morphem", "subcell"])
def test_encoders_of_others_keep_the_promises(golden, scheme):
    name = f"{scheme}:{golden.parent / f'{scheme}-tiny'}"
    failed = [check for check in testing.check_encoder(name) if check.problem is not None]
    assert not failed
    assert zoo.encoder_info(name).citation
