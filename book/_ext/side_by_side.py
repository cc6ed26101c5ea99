"""Runs the chapters side by side before Sphinx reads them one by one.

Their outputs go into MyST-NB's cache, which each build empties first: a cache
that lasted would serve the results of an older package.
"""

import shutil
from pathlib import Path
from typing import Any

from jupyter_cache import get_cache
from jupyter_cache.executors import load_executor


def run_chapters(app: Any) -> None:
    config = app.env.mystnb_config
    if config.execution_mode != "cache":
        return
    shutil.rmtree(config.execution_cache_path, ignore_errors=True)
    cache = get_cache(config.execution_cache_path)
    for path in sorted(Path(app.srcdir, "notebooks").glob("*.ipynb")):
        cache.add_nb_to_project(path)
    # What fails is run again when its page is read, and reported there.
    load_executor("local-parallel", cache).run_and_cache(
        timeout=config.execution_timeout
    )


def setup(app: Any) -> dict[str, Any]:
    # After MyST-NB has read its configuration.
    app.connect("builder-inited", run_chapters, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
