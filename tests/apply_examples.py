"""Plans, and data to carry them out on."""

from dataclasses import dataclass

from hypothesis import strategies as st
from PIL import Image

from datagradient.auditing.apply import carry_out
from datagradient.data.readers import ReadOptions, read
from datagradient.files import write_json

ROWS = 12


def drop(row, **more):
    return {"row": row, "decision": "drop", **more}


def relabel(row, label, **more):
    return {"row": row, "decision": "relabel", "label": label, **more}


def plan_of(source, actions, target="y", **options):
    """A plan.json beside a source, as an audit writes it."""
    facts = read(source, ReadOptions(target, **options)).facts
    plan = source.parent / "plan.json"
    write_json(plan, {"schema": 1, "source": facts, "verdict": "helps", "actions": actions})
    return plan


def outcome(source, actions, out=None, **options):
    """The path of what `apply` writes."""
    out = out or source.with_name(f"new-{source.name}")
    carry_out(plan_of(source, actions, **options), out)
    return out


def numbers(n=ROWS):
    return [(7 * k) % 5 + k / 10 for k in range(n)]


def words(n=ROWS):
    return ["no", "yes", "no"] * (n // 3)


def table_text(end="\n", sep=","):
    rows = [f"{x}{sep}{word}" for x, word in zip(numbers(), words(), strict=True)]
    return end.join([f"x{sep}y", *rows, ""])


def written(folder, content, name="data.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@dataclass
class Written:
    """A random text table: fields as they are written, the cells that they hold, and blank lines before each record."""

    header: str
    records: list[list[str]]
    cells: list[list[str]]
    blanks: list[str]
    sep: str
    end: str
    last: str

    def text(self, dropped=(), labels=None):
        pieces = [self.header + self.end]
        for row, record in enumerate(self.records):
            pieces.append(self.blanks[row])
            if row not in dropped:
                fields = [*record[:2], (labels or {}).get(row, record[2]), *record[3:]]
                pieces.append(self.sep.join(fields) + self.end)
        return "".join([*pieces, self.last])


def quoted(cell, sep, always):
    special = always or any(character in cell for character in f'{sep}"\r\n') or not cell.strip()
    return '"' + cell.replace('"', '""') + '"' if special else cell


@st.composite
def tables(draw):
    sep, end = draw(st.sampled_from([",", ";", "\t", "|"])), draw(st.sampled_from(["\n", "\r\n", "\r"]))
    classes = draw(st.permutations(['a "b"', "two\nlines", f"x{sep}y", "plain", " blank", "é"]))[:2]
    n = draw(st.integers(11, 16))
    cells, records = [], []
    for row in range(n):
        text = draw(st.text("ab ,;|\t\"'\n\ré", max_size=6))
        # Both classes have a row that is not changed.
        cells.append([f"r{row}", str(row * 1.5), classes[row % 2] if row < 2 else draw(st.sampled_from(classes)), text])
        records.append([quoted(cell, sep, draw(st.booleans())) for cell in cells[-1]])
    blanks = [draw(st.sampled_from(["", "", "", end, f"  {end}"])) for _ in range(n)]
    header = sep.join([draw(st.sampled_from(["id", '"id"'])), "x", "y", "t"])
    last = draw(st.sampled_from(["", end, f" {end}{end}"]))
    return Written(header, records, cells, blanks, sep, end, last), classes


# Folders of images


def folder_of_images(folder):
    """Six images of each of two classes, one in a subfolder, and files that are no samples."""
    source = folder / "pets"
    for number in range(6):
        for word in ("cat", "dog"):
            path = source / word / ("deep" if number == 5 else "") / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (4, 4), (40 * number, word == "cat", 7)).save(path)
    (source / "README.md").write_text("pets")
    (source / "cat/.DS_Store").write_text("junk")
    return source


def files_in(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
