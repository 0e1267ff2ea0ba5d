"""Puts tests/support on the path: code that several tests share."""

import os
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

SUPPORT = Path(__file__).parent / "support"
sys.path.insert(0, str(SUPPORT))
pytest.register_assert_rewrite(*(path.stem for path in SUPPORT.glob("*.py")))

# The first example of a test may compile the C core; how long one takes says nothing on a shared machine.
settings.register_profile("cutlayer", deadline=None)
settings.load_profile("cutlayer")

# Commands that are not told another keep their runs and keys here, not where they are at home.
_store = tempfile.TemporaryDirectory(prefix="cutlayer-runs-")
os.environ["CUTLAYER_STORE"] = _store.name
os.environ["CUTLAYER_KEYS"] = str(Path(_store.name) / "keys.json")
