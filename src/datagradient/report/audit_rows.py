"""The rows of an audit as the page's script reads them: small, since texts and names that recur are written once."""

import json

from datagradient.report.offline import as_json

ROWS = 1000  # most rows in the table
CELLS = 100  # most cells of a row that are shown, unusual ones first
LEVELS = 5  # steps of the weight of a word, on either side of 0
LARGEST = 4_000_000  # bytes of JSON, without pictures
# How many letters a sample may have, and how many rows show the samples of their nearest rows: the first that fits.
SIZES = [(2000, 1000), (2000, 300), (1000, 300), (1000, 100), (500, 100), (300, 50), (150, 0), (60, 0), (20, 0)]
PLAIN = ("row", "id", "file", "probability", "harm", "influence", "loss", "doubt", "confidence", "stands_out", "of",
         "decision", "reason")  # fmt: skip


def table_data(rows: list[dict]) -> dict:
    """Return what the script makes the table from.

    Returns:
        ``fields``: names of the entries of each of ``rows``, of which ``given`` and ``suggested`` are places in
        ``names``, ``shown`` in ``samples``, and ``helpful`` and ``harmful`` are lists of (row, given, distance, shown).
        A sample has ``picture``, a place in ``pictures``; or ``parts``, texts each followed by its level; or
        ``columns``, a place in ``columns``, whose entries are places in ``names``, with ``values`` and ``unusual``.
        ``cut``: whether a sample is longer than what is held of it, or a nearest row's was left out.
    """
    rows = rows[:ROWS]
    for length, near in SIZES:
        packed = _Packed(length, near)
        found = packed.all(rows)
        if len(as_json(found).encode("utf-8", "backslashreplace")) <= LARGEST:
            break
    return found | {"pictures": list(packed.pictures)}


class _Packed:
    def __init__(self, length: int, near: int):
        self.length, self.near, self.cut = length, near, False
        self.names: dict[str, int] = {}
        self.pictures: dict[str, int] = {}
        self.columns: dict[tuple[int, ...], int] = {}
        self.samples: dict[str, int] = {}

    def all(self, rows: list[dict]) -> dict:
        packed = [self.row(row, place < self.near) for place, row in enumerate(rows)]
        return {
            "fields": [*PLAIN, "given", "suggested", "shown", "helpful", "harmful"], "rows": packed, "cut": self.cut,
            "names": list(self.names), "columns": list(self.columns), "samples": list(map(json.loads, self.samples)),
        }  # fmt: skip

    def row(self, row: dict, near: bool) -> list:
        return [
            *(row[field] for field in PLAIN), _number(self.names, row["given"]), _number(self.names, row["suggested"]),
            self.sample(row["shown"], self.length), *(self.nearest(row["near"][kind], near) for kind in
                                                      ("helpful", "harmful")),
        ]  # fmt: skip

    def nearest(self, rows: list[dict], shown: bool) -> list[list]:
        self.cut |= bool(rows) and not shown
        return [
            [row["row"], _number(self.names, row["given"]), row["distance"],
             self.sample(row["shown"], max(20, self.length // 4)) if shown else None] for row in rows
        ]  # fmt: skip

    def sample(self, shown: dict | None, length: int) -> int | None:
        if shown is None:
            return None
        found = {"image": self.picture, "text": self.text, "table": self.cells}[shown["kind"]](shown, length)
        return _number(self.samples, json.dumps(found))

    def picture(self, shown: dict, length: int) -> dict:
        if not shown["src"].startswith("data:image/"):
            raise ValueError("a picture of the page must be inside it: data:image/…")
        return {"picture": _number(self.pictures, shown["src"])}

    def text(self, shown: dict, length: int) -> dict:
        parts: list = []
        for text, weight in shown["parts"]:
            level = max(-LEVELS, min(LEVELS, round(LEVELS * weight)))
            kept = self.shortened(text, length)
            length -= len(text)
            if parts and parts[-1] == level:
                parts[-2] += kept
            else:
                parts += [kept, level]
            if length < 0:
                break
        return {"parts": parts}

    def cells(self, shown: dict, length: int) -> dict:
        cells = list(enumerate(shown["cells"]))
        if len(cells) > CELLS:
            self.cut = True
            cells = sorted(sorted(cells, key=lambda cell: not cell[1]["unusual"])[:CELLS])
        names = tuple(_number(self.names, cell["name"]) for _, cell in cells)
        return {
            "columns": _number(self.columns, names),
            "values": [self.shortened(cell["value"], max(20, length // 10)) for _, cell in cells],
            "unusual": {place: cell["unusual"] for place, (_, cell) in enumerate(cells) if cell["unusual"]},
        }

    def shortened(self, text: str, length: int) -> str:
        self.cut |= len(text) > length
        return text if len(text) <= length else f"{text[:length]}…"


def _number(numbers: dict, thing: object) -> int | None:
    """Return the number of a thing, from 0, which stays its own; None for None."""
    return None if thing is None else numbers.setdefault(thing, len(numbers))
