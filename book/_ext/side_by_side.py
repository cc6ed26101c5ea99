"""Runs the chapters side by side before Sphinx reads them one by one.

Their outputs go into MyST-NB's cache, which each build empties first: a cache
that lasted would serve the results of an older package.
"""

import shutil
from pathlib import Path
from typing import Any

import nbformat
from jupyter_cache import get_cache
from jupyter_cache.executors import load_executor


def run_chapters(app: Any) -> None:
    config = app.env.mystnb_config
    if config.execution_mode != "cache":
        return
    shutil.rmtree(config.execution_cache_path, ignore_errors=True)
    cache = get_cache(config.execution_cache_path)
    for path in chapters(app):
        cache.add_nb_to_project(path)
    # What fails is run again when its page is read, and reported there.
    load_executor("local-parallel", cache).run_and_cache(
        timeout=config.execution_timeout
    )


def keep_outputs(app: Any, error: Exception | None) -> None:
    """Write the executed chapters, which MyST-NB keeps without outputs."""
    config = app.env.mystnb_config
    if error or config.execution_mode != "cache":
        return
    cache = get_cache(config.execution_cache_path)
    for path in chapters(app):
        source = nbformat.read(path, as_version=4)
        _, executed = cache.merge_match_into_notebook(source)
        kept = Path(config.output_folder, "notebooks", path.name)
        nbformat.write(executed, kept)


def chapters(app: Any) -> list[Path]:
    return sorted(Path(app.srcdir, "notebooks").glob("*.ipynb"))


def setup(app: Any) -> dict[str, Any]:
    # After MyST-NB has read its configuration.
    app.connect("builder-inited", run_chapters, priority=900)
    app.connect("build-finished", keep_outputs)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
