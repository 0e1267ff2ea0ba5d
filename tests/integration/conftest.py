from __future__ import annotations

import pytest
from tiny_board import TinyBoard, make_tiny_board


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyBoard:
    return make_tiny_board(tmp_path_factory.mktemp("tiny"))
