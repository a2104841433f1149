"""A headless browser for the pages of this folder."""

import chromium
import pytest


@pytest.fixture(scope="module")
def browser():
    if chromium.executable() is None:
        pytest.skip("there is no Chromium here")
    with chromium.Page() as opened:
        yield opened
