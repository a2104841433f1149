"""Encoders of others keep the promises that plugins are checked for."""

import pytest

import zoo
from zoo import testing

CHECKPOINTS = ("openphenom", "channelvit", "morphem", "subcell", "celldino", "celldino-bag")


@pytest.mark.parametrize("checkpoint", CHECKPOINTS)
def test_encoders_of_others_keep_the_promises(golden, checkpoint):
    scheme = checkpoint.partition("-")[0]
    name = f"{scheme}:{golden.parent / f'{checkpoint}-tiny'}"
    failed = [check for check in testing.check_encoder(name) if check.problem is not None]
    assert not failed
    assert zoo.encoder_info(name).citation


@pytest.mark.long
def test_pathology_encoders_keep_the_promises():
    checks = testing.check_encoder("pathology-untrained:kaiko-vits16")
    assert not [check for check in checks if check.problem is not None]
