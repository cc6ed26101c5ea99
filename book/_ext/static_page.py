"""Tells the chapters' kernels that they run for a page.

Explorers then become HTML, see lamae_tutorial/widgets.py.
"""

import os
from typing import Any


def setup(app: object) -> dict[str, Any]:
    os.environ["LAMAE_STATIC_PAGE"] = "1"
    return {"parallel_read_safe": True, "parallel_write_safe": True}
