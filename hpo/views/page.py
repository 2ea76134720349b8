"""The page that figures are drawn on: a matplotlib Figure that a notebook shows as it is."""

import io

from matplotlib.figure import Figure

from hpo.views.canvas import own_settings

__all__ = ["Figure", "Page"]


class Page(Figure):
    """A figure; a notebook need not import pyplot to see it."""

    def _repr_png_(self) -> bytes:
        picture = io.BytesIO()
        with own_settings():
            self.savefig(picture, format="png", dpi="figure")
        return picture.getvalue()
