"""What the chapters need beyond the package: numbers of the run for their prose."""


def glue(name: str, value: float | str) -> None:
    """Store a number under a name, so that the chapter's text can show it with ``{glue:text}``.

    Where MyST-NB is not installed (on Colab) the text is not rendered and nothing needs to be stored.

    Parameters
    ----------
    name : str
    value : float or str
    """
    try:
        from myst_nb import glue as store
    except ImportError:
        return
    store(name, value if isinstance(value, str) else float(value), display=False)
