"""Draw the diagrams of the book: the models of chapters 1, 2, 3 and 5, and the p-value of chapter 7.

Run: python tools/diagrams.py [--out DIR]

Each diagram is a column 420 units wide, read from top to bottom, so that its text has 11 pixels or more on a phone. A
part of a model has one colour in all of them. The background is white because pages may be dark.
"""

# ruff: noqa: RUF001 - the minus sign and Greek letters are meant

import argparse
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

DIAGRAMS = Path(__file__).parent.parent / "book" / "diagrams"
INK, FAINT = "#222222", "#bbbbbb"
COLOURS = {  # Okabe and Ito
    "encoder": "#56B4E9",
    "latent": "#F0E442",
    "memory": "#009E73",
    "decoder": "#E69F00",
    "classifier": "#CC79A7",
    "score": "#D55E00",
}
PALE, LIT = 0.3, 1.0
WIDTH, MARGIN = 420, 14
MIDDLE, RAIL = 190, 22  # the column of boxes, and the line at its left that leads from the image to the score
ARROW, PICTURE, STRIP = 34, 56, 20
SEVEN = "M14 16H42L26 44"
RESIDUE = "M12 13H44M14 20H36M45 17L30 45M37 22L24 44"  # along the edges of the seven
IMAGES, LATENT = "(B, 1, 28, 28)", "(B, 32)"

Point = tuple[float, float]


class Diagram:
    """Elements of a drawing. The methods that belong to a column take the y above and return the y below."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.elements: list[str] = []

    def text(self, x: float, y: float, words: str, *, bold: bool = False, anchor: str = "start") -> None:
        if not words:
            return
        weight = ' font-size="16" font-weight="bold"' if bold else ""
        self.elements.append(f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}"{weight}>{escape(words)}</text>')

    def polygon(self, part: str, corners: Sequence[Point], opacity: float = PALE) -> None:
        """Draw a shape in the colour of a part; it is white if the part has none."""
        points = " ".join(f"{x:g},{y:g}" for x, y in corners)
        colour = COLOURS.get(part)
        fill = f'fill="{colour}" fill-opacity="{opacity:g}" stroke="{colour}"' if colour else f'stroke="{INK}"'
        self.elements.append(f'<polygon points="{points}" {fill}/>')

    def rectangle(self, part: str, x: float, y: float, width: float, height: float, opacity: float = PALE) -> None:
        """Draw a rectangle from its corner at the top left."""
        right, bottom = x + width, y + height
        self.polygon(part, [(x, y), (right, y), (right, bottom), (x, bottom)], opacity)

    def block(self, colour: str, x: float, y: float, width: float, height: float) -> None:
        self.elements.append(f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" fill="{colour}"/>')

    def arrow(self, *points: Point) -> None:
        path = "M" + "L".join(f"{x:g} {y:g}" for x, y in points)
        self.elements.append(f'<path d="{path}" stroke="{INK}" stroke-width="2" marker-end="url(#tip)"/>')

    def dashed(self, path: str) -> None:
        self.elements.append(f'<path d="{path}" stroke="{INK}" stroke-dasharray="5 4"/>')

    def down(self, y: float, label: str = "", x: float = MIDDLE, length: float = ARROW) -> float:
        """Draw an arrow downwards, with a label at its right."""
        self.arrow((x, y), (x, y + length))
        self.text(x + 10, y + length / 2 + 4, label)
        return y + length

    def words(self, x: float, y: float, lines: Sequence[str]) -> None:
        """Write centred lines around a height, the first of them as a heading."""
        for number, line in enumerate(lines):
            middle = y + 18 * (number - (len(lines) - 1) / 2)
            self.text(x, middle + 5, line, bold=number == 0, anchor="middle")

    def box(self, part: str, y: float, *lines: str, x: float = MIDDLE, width: float = 260) -> float:
        height = 14 + 18 * len(lines)
        self.rectangle(part, x - width / 2, y, width, height)
        self.words(x, y + height / 2, lines)
        return y + height

    def funnel(self, part: str, y: float, *lines: str) -> float:
        """Draw an encoder, which narrows, or a decoder, which widens."""
        height = 20 + 18 * len(lines)
        top, bottom = (130, 90) if part == "encoder" else (90, 130)
        below = y + height
        corners = [(MIDDLE - top, y), (MIDDLE + top, y), (MIDDLE + bottom, below), (MIDDLE - bottom, below)]
        self.polygon(part, corners)
        self.words(MIDDLE, y + height / 2, lines)
        return below

    def strip(self, part: str, y: float, label: str, x: float = MIDDLE, width: float = 112, kind: int = 1) -> float:
        """Draw a vector as a row of cells, with a label at its right. Another `kind` has other lightnesses."""
        left, cell = x - width / 2, width / 8
        for number in range(8):
            lightness = (0.25, 0.75, 0.45, 0.95, 0.35, 0.6, 0.85)[(number + 1) * kind % 7]
            self.rectangle(part, left + number * cell, y, cell, STRIP, lightness)
        self.rectangle("", left, y, width, STRIP)
        self.text(x + width / 2 + 10, y + STRIP / 2 + 5, label)
        return y + STRIP

    def picture(self, y: float, label: str, path: str = SEVEN, ink: str = "#ffffff", x: float = MIDDLE) -> float:
        """Draw a dark image with a figure on it, and a label at its right."""
        left = x - PICTURE / 2
        self.elements.append(
            f'<g transform="translate({left:g} {y:g})"><rect width="{PICTURE}" height="{PICTURE}" rx="4" fill="{INK}"/>'
            f'<path d="{path}" stroke="{ink}" stroke-width="5"/></g>'
        )
        self.text(x + PICTURE / 2 + 10, y + PICTURE / 2 + 5, label)
        return y + PICTURE

    def rail(self, end: float, to: float) -> None:
        """Lead from the image at the top to what it is compared with, whose left side is at `to`."""
        start = MARGIN + PICTURE / 2
        self.arrow((MIDDLE - PICTURE / 2, start), (RAIL, start), (RAIL, end), (to, end))

    def score(self, y: float, *lines: str) -> float:
        """Draw a score of image and reconstruction."""
        below = self.box("score", y, *lines)
        self.rail((y + below) / 2, MIDDLE - 130)
        return below

    def encode(self, *lines: str) -> float:
        """Draw the top of an autoencoder: image and encoder."""
        y = self.down(self.picture(MARGIN, "image x"), IMAGES)
        return self.funnel("encoder", y, "Encoder", *lines)

    def rebuild(self, y: float, *lines: str) -> float:
        """Draw the bottom of an autoencoder: from the arrow to the decoder down to the error."""
        y = self.funnel("decoder", self.down(y, LATENT), "Decoder", *lines)
        y = self.picture(self.down(y, IMAGES), "rebuilt image x̂", ink=FAINT)
        return self.score(self.down(y), "Error ‖x − x̂‖²", "one score for each image: (B,)")

    def svg(self, bottom: float) -> str:
        height = round(bottom) + MARGIN
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
                f'viewBox="0 0 {WIDTH} {height}" role="img" font-family="Helvetica, Arial, sans-serif" font-size="14">',
                f"<title>{escape(self.title)}</title>",
                '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="6" markerHeight="6" '
                f'orient="auto"><path d="M0 0L10 5L0 10z" fill="{INK}"/></marker></defs>',
                f'<rect width="{WIDTH}" height="{height}" rx="12" fill="#ffffff"/>',
                f'<g fill="none" stroke-width="1.5">\n{self.drawn("<text", False)}\n</g>',
                f'<g fill="{INK}">\n{self.drawn("<text", True)}\n</g>',
                "</svg>\n",
            ]
        )

    def drawn(self, tag: str, wanted: bool) -> str:
        return "\n".join(element for element in self.elements if element.startswith(tag) == wanted)


def autoencoder() -> str:
    diagram = Diagram("Autoencoder")
    y = diagram.encode("convolutions 16, 32, 64", "and a dense layer")
    y = diagram.down(y, LATENT)
    y = diagram.strip("latent", y, "latent z: 32 numbers")
    return diagram.svg(diagram.rebuild(y, "a dense layer and", "convolutions 64, 32, 16"))


def variational() -> str:
    diagram = Diagram("Variational autoencoder (VAE)")
    left, right = 100, 264
    y = diagram.encode("output split in two")
    diagram.down(y, LATENT, x=left + 10)
    y = diagram.down(y, LATENT, x=right)
    diagram.strip("latent", y, "mean μ", x=left + 10, width=72)
    y = diagram.strip("latent", y, "log variance", x=right, width=72)
    diagram.arrow((left + 10, y), (MIDDLE - 30, y + ARROW))
    diagram.arrow((right, y), (MIDDLE + 30, y + ARROW))
    diagram.text(right, y + ARROW / 2 + 7, "KL: near N(0, I)")
    y = diagram.strip("latent", y + ARROW, "z = μ + σε, ε random")
    y = diagram.down(y, LATENT)
    y = diagram.funnel("decoder", y, "Decoder", "mean and log variance", "of every pixel")
    diagram.down(y, IMAGES, x=left)
    y = diagram.down(y, IMAGES, x=right)
    diagram.picture(y, "mean x̂", ink=FAINT, x=left)
    y = diagram.picture(y, "log variance", path=RESIDUE, ink=FAINT, x=right)
    diagram.down(y, x=left)
    y = diagram.down(y, x=right)
    scores = ("VAE(e): error ‖x − x̂‖²", "VAE(p): mean of −log p(x | z)")
    return diagram.svg(diagram.score(y, "Two scores, each (B,)", *scores))


def memae() -> str:
    diagram = Diagram("MemAE: a memory between encoder and decoder")
    y = diagram.down(diagram.encode(), LATENT)
    y = diagram.strip("latent", y, "latent z")
    y = diagram.down(y, LATENT)
    top = y
    diagram.words(110, y + 32, ["Memory", "slots (100, 32)"])
    diagram.words(290, y + 32, ["Weights w (B, 100)", "softmax of cosines"])
    left, unit = 210, 96  # unit: the length of a bar of 1/N
    y += 66
    for number, weight in enumerate((1.25, 0.7, 1.45, 0.8, 1.15), start=1):
        diagram.strip("memory", y, "", x=110, kind=number)
        diagram.rectangle("memory", left, y + 3, weight * unit, STRIP - 6, LIT if weight > 1 else 0)
        y += STRIP + 8
    diagram.words(110, y, ["…"])
    diagram.words(left + unit / 2, y, ["…"])
    diagram.dashed(f"M{left + unit} {top + 60}V{y + 10}")
    diagram.text(left + unit, y + 26, "1/N: less is cut to 0", anchor="middle")
    bottom = y + 38
    diagram.rectangle("memory", 38, top, 366, bottom - top, 0.06)
    y = diagram.down(bottom)
    y = diagram.strip("memory", y, "ẑ: weighted mean", kind=6)
    return diagram.svg(diagram.rebuild(y))


def lamae() -> str:
    diagram = Diagram("LAMAE: a chunk of memory for each class, and a classifier that chooses one")
    y = diagram.down(diagram.encode(), LATENT)
    diagram.text(MIDDLE - 66, y + 15, "latent z", anchor="end")
    diagram.box("classifier", y - 15, "Classifier", "dense layer", x=342, width=124)
    diagram.arrow((MIDDLE + 56, y + STRIP / 2), (280, y + STRIP / 2))
    y = diagram.strip("latent", y, "")
    classes, chosen, step = "023456789", "7", 40
    column = 221 - step * len(classes) / 2
    lit = column + step * (classes.index(chosen) + 0.5)
    top = y + 62
    diagram.arrow((MIDDLE, y), (MIDDLE, top))
    diagram.text(MIDDLE + 10, y + 36, LATENT)
    diagram.arrow((lit, y + 15), (lit, top + 10))
    diagram.text(lit + 10, y + 34, "(B, 9)")
    diagram.text(lit + 10, y + 52, "largest: 7")
    for number, name in enumerate(classes):
        left = column + number * step
        for slot in range(10):
            diagram.rectangle("memory", left + 5, top + 12 + 9 * slot, 30, 6, LIT if name == chosen else 0.15)
        diagram.text(left + step / 2, top + 120, name, bold=name == chosen, anchor="middle")
    diagram.words(
        221,
        top + 156,
        ["Memory (9, 10, 32)", "10 slots a class; weights w: (B, 9, 10)", "sum 1 in the lit chunk, 0 elsewhere"],
    )
    bottom = top + 190
    diagram.rectangle("memory", 38, top, 366, bottom - top, 0.06)
    diagram.arrow((lit, bottom), (lit, bottom + 14), (MIDDLE, bottom + 14), (MIDDLE, bottom + ARROW))
    y = diagram.strip("memory", bottom + ARROW, "ẑ: weighted mean", kind=6)
    return diagram.svg(diagram.rebuild(y))


def difference() -> str:
    diagram = Diagram("Difference-image detector: a frozen autoencoder, then a binary classifier")
    y = diagram.picture(MARGIN, "image I")
    y = diagram.down(y, IMAGES, length=46)
    top = y - 8
    diagram.text(46, top - 7, "Stage 1: frozen")
    y = diagram.funnel("encoder", y, "Encoder")
    y = diagram.down(y, LATENT)
    latent = y + STRIP / 2
    diagram.text(MIDDLE - 66, latent + 5, "latent z", anchor="end")
    y = diagram.strip("latent", y, "")
    y = diagram.down(y, LATENT)
    y = diagram.funnel("decoder", y, "Decoder")
    diagram.dashed(f"M46 {top}H334V{y + 8}H46Z")
    y = diagram.down(y, IMAGES, length=42)
    y = diagram.picture(y, "rebuilt image Î", ink=FAINT)
    y = diagram.down(y)
    diagram.rail(y + PICTURE / 2, MIDDLE - PICTURE / 2)
    y = diagram.picture(y, "difference |I − Î|", path=RESIDUE, ink=COLOURS["score"])
    y = diagram.down(y, IMAGES)
    diagram.text(60, y - 9, "Stage 2: trained")
    y = diagram.box("classifier", y, "Convolution 16")
    y = diagram.down(y, "(B, 16, 14, 14)")
    y = diagram.box("classifier", y, "Convolution 32")
    y = diagram.down(y, "(B, 32, 7, 7)")
    join, outside = y + 16, 392
    diagram.box("classifier", join - 16, "Dense", x=314, width=72)
    diagram.arrow((MIDDLE + 56, latent), (outside, latent), (outside, join), (350, join))
    diagram.arrow((278, join), (MIDDLE + 16, join))
    diagram.text(outside - 6, join - 94, LATENT, anchor="end")
    y = diagram.box("classifier", y, "+", width=32)
    y = diagram.down(y, "(B, 32, 7, 7)")
    y = diagram.box("classifier", y, "Convolution 64")
    y = diagram.down(y, "(B, 64, 4, 4)")
    y = diagram.box("classifier", y, "Mean over pixels, dense")
    y = diagram.down(y, "(B,)")
    return diagram.svg(diagram.box("score", y, "Log odds of an outlier"))


def p_value() -> str:
    diagram = Diagram("From a score to a p-value")
    n, new, alpha = 39, 116, 0.1
    known = [22 + 50 * (place / n) + 60 * (place / n) ** 6 for place in range(1, n + 1)]
    at_least = sum(score >= new for score in known)
    p = (1 + at_least) / (n + 1)
    rejected = int(alpha * (n + 1))  # so many of the highest ranks have a p-value of at most alpha
    left, right = 22, WIDTH - 22
    centre, width = WIDTH / 2, right - left
    diagram.box("", MARGIN, "Calibration", f"{n} ID images", x=112, width=180)
    y = diagram.box("", MARGIN, "New image", "ID or OoD?", x=308, width=180)
    diagram.down(y, x=112)
    y = diagram.down(y, x=308)
    y = diagram.box("", y, "Trained detector", x=centre, width=width)
    diagram.down(y, f"{n} scores", x=112)
    y = diagram.down(y, "its score s", x=308)
    diagram.text(left, y + 22, "All scores, sorted")
    diagram.text(right, y + 22, f"{rejected} highest of {n + 1}: α = {alpha:g}", anchor="end")
    y += 30
    floor, step = y + 144, width / (n + 1)
    band = rejected * step
    diagram.block("#dddddd", right - band, y, band, floor - y)
    for place, score in enumerate(sorted([*known, new])):
        x, bar = left + place * step + 1.5, step - 3
        if score == new:
            diagram.block(INK, x, floor - score, bar, score)
            diagram.text(x + bar / 2, floor + 16, "s", bold=True, anchor="middle")
        else:
            diagram.rectangle("score", x, floor - score, bar, score, LIT if score > new else PALE)
    count = f"{at_least} of the {n} scores are at least as high as s"
    y = diagram.box("score", floor + 26, f"p = (1 + {at_least}) / ({n} + 1) = {p:g}", count, x=centre, width=width)
    y = diagram.down(y, x=centre)
    verdict = "p ≤ α: called OoD" if p <= alpha else "p > α: called ID"
    return diagram.svg(diagram.box("", y, verdict, x=centre, width=width))


DRAWN: dict[str, Callable[[], str]] = {
    "autoencoder": autoencoder,
    "vae": variational,
    "memae": memae,
    "lamae": lamae,
    "difference": difference,
    "p_value": p_value,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=DIAGRAMS, help="(default: %(default)s)")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    for name, draw in DRAWN.items():
        (out / f"{name}.svg").write_text(draw(), encoding="utf-8")


if __name__ == "__main__":
    main()
