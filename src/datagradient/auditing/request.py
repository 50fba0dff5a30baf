"""What is to be audited, and how; imports nothing heavy, so that a wrong call is refused at once."""

import numbers
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from datagradient import __version__
from datagradient.errors import UserError
from datagradient.pipeline.layout import modules

AUTO = "auto"
OWN = "own"  # stands for a user's own classifier among the names of families
FEWEST_ROWS = 50  # with fewer an audit says so, and trains no model


@dataclass(frozen=True)
class AuditOptions:
    """How an audit judges.

    Attributes:
        model: ``"auto"``, or the name of a model family; `OWN` for a user's own classifier.
        folds: outer folds; each measures what the decision of the others does.
        rounds: how often what is left is judged again.
        fraction: largest share of the rows that a round acts on; None: as many as the policy wants.
        max_rows: of more rows, so many are drawn at random.
        time_limit: seconds; of more rows than can be audited in that time, so many are drawn. None: no limit.
        seed: of everything random.

    Raises:
        UserError: a value is not legal.
    """

    model: str = AUTO
    folds: int = 5
    rounds: int = 1
    fraction: float | None = None
    max_rows: int = 100_000
    time_limit: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse illegal values."""
        if self.model not in (AUTO, OWN, *modules("models")):
            raise _no_model(self.model)
        for name, least, most in (("folds", 2, 20), ("rounds", 1, 10), ("max_rows", FEWEST_ROWS, 10**9),
                                  ("seed", 0, 2**32 - 1)):  # fmt: skip
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, numbers.Integral) or not least <= value <= most:
                raise UserError(f"--{name.replace('_', '-')} is {value!r}: give a whole number from {least} to {most}")
        if self.fraction is not None and not 0 < self.fraction <= 0.5:
            raise UserError(f"--fraction is {self.fraction!r}: give a number above 0 and at most 0.5")
        if self.time_limit is not None and not self.time_limit > 0:
            raise UserError(f"--time-limit is {self.time_limit!r}: give a number of seconds above 0")


@dataclass(frozen=True)
class Request:
    """An audit as it is asked for.

    Attributes:
        data: a file or folder, a DataFrame, or arrays (samples, labels).
        reading: how to read it, a `ReadOptions`.
        options: how to judge.
        validation: more data of the same kind, whose labels were checked by hand.
        test: more data of the same kind, to measure the effect on.
        trusted: the review of an earlier audit, with labels written into its column ``checked``: a file, or a
            DataFrame.
        device: ``"cpu"``: networks use no GPU.
        path: what the outcome calls the data; None: as they are given here.
        own: a user's own classifier, an `OwnClassifier`; None without.

    Raises:
        UserError: the options name the user's own classifier, and there is none.
    """

    data: Any
    reading: Any
    options: AuditOptions = field(default_factory=AuditOptions)
    validation: Any = None
    test: Any = None
    trusted: Any = None
    device: str = AUTO
    path: str | None = None
    own: Any = None

    def __post_init__(self) -> None:
        """Refuse a model that only Python can be given."""
        if self.options.model == OWN and self.own is None:
            raise _no_model(OWN)

    def prepare_device(self) -> None:
        """Hide GPUs from this process and those that it starts, if none is wanted."""
        if self.device == "cpu":
            os.environ["CUDA_VISIBLE_DEVICES"] = ""

    def facts(self, checksums: Mapping[str, str], path: str) -> dict[str, Any]:
        """Return what begun.json holds: all that a job, or someone who resumes, needs to know.

        Args:
            checksums: of the data, by what they are.
            path: what the outcome calls the data.
        """
        given = {"data": self.data, "validation": self.validation, "test": self.test, "trusted": self.trusted}
        files = {name: str(Path(value).absolute()) for name, value in given.items() if isinstance(value, str | Path)}
        own = {} if self.own is None else {"classifier": self.own.settings}
        asked = {"options": {**asdict(self.options), "device": self.device, **own}, "reading": asdict(self.reading)}
        return {"version": __version__, "python": sys.executable, "path": path, "files": files,
                "checksums": dict(checksums), **asked}  # fmt: skip


def _no_model(name: str) -> UserError:
    return UserError(f"--model {name}: legal are {AUTO}, {', '.join(modules('models'))}")


def request_of(facts: Mapping[str, Any], where: Path) -> Request:
    """Return the audit that a begun.json is about.

    Raises:
        UserError: its data were handed over in memory.
    """
    from datagradient.data.readers import ReadOptions

    if "data" not in facts["files"]:
        raise UserError(f"{where}: this audit's data were handed over in Python, and cannot be read again")
    options = {name.name: facts["options"][name.name] for name in fields(AuditOptions)}
    reading = {name.name: facts["reading"][name.name] for name in fields(ReadOptions)}
    reading["drop"] = tuple(reading["drop"])
    return Request(reading=ReadOptions(**reading), options=AuditOptions(**options), device=facts["options"]["device"],
                   path=facts["path"], **facts["files"])  # fmt: skip
