"""An audit as a run in MLflow, where the user has a store, which MLFLOW_TRACKING_URI names."""

import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datagradient.auditing.folder import OURS
from datagradient.errors import UserError, one_line

if TYPE_CHECKING:
    from datagradient.auditing.run import Audit
    from datagradient.auditing.setup import Said
    from datagradient.evidence.mirrored import MirroredRun

EXPERIMENT = "Audits"
LONGEST = 5.0  # seconds that an audit waits for the store
RETRIES, TIMEOUT = "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"


def import_meanwhile() -> None:
    """Begin to import MLflow, which takes seconds, while other processes work."""
    threading.Thread(target=_imported, daemon=True).start()


def track(result: "Audit", folder: Path, said: "Said") -> None:
    """Log an audit whose files are written; whatever goes wrong is said in one line, and changes nothing else."""
    reason = _imported()
    if not reason:
        failed: list[str] = []
        logging = threading.Thread(target=_log, args=(result, folder, failed), daemon=True)
        logging.start()
        logging.join(LONGEST)
        if logging.is_alive():
            failed.append(f"the store that MLFLOW_TRACKING_URI names did not answer within {LONGEST:g} s")
        reason = "; ".join(failed)
    if reason:
        said(f"The audit is not in MLflow: {reason}")


def _imported() -> str:
    """Import MLflow; return why that fails, or ""."""
    for name, value in ((RETRIES, "0"), (TIMEOUT, "2")):  # MLflow's own would wait for minutes
        os.environ.setdefault(name, value)
    try:
        from datagradient.evidence import tracking  # noqa: F401
    except ModuleNotFoundError as error:
        return f"{error.name} is not installed; pip install 'datagradient[pipeline]'"
    except Exception as error:  # of a library, whatever it is
        return one_line(f"{type(error).__name__}: {error}")
    return ""


def _log(result: "Audit", folder: Path, failed: list[str]) -> None:
    from datagradient.evidence.tracking import add_run

    try:
        add_run(EXPERIMENT, run_of(result, folder))
    except UserError as error:
        failed.append(one_line(error))
    except Exception as error:  # of a store or its libraries, whatever it is
        failed.append(one_line(f"{type(error).__name__}: {error}"))


def run_of(result: "Audit", folder: Path) -> "MirroredRun":
    """Return the run of an audit: its options, its numbers as metrics, and its files."""
    from mlflow.entities import Metric, Param

    from datagradient.evidence.mirrored import MirroredRun

    summary, now = result.summary, int(time.time() * 1000)
    source, facts = summary["source"], summary["provenance"]
    params = {**summary["options"], "target": source.get("target"), "refined_model": summary["model"]["name"]}
    tags = {"verdict": summary["effect"]["verdict"], "sha256": source["sha256"], "path": source["path"],
            "version": facts["version"], "git_commit": facts["git_commit"]}  # fmt: skip
    return MirroredRun(
        Path(str(source["path"])).name,
        {name: str(value) for name, value in tags.items()},
        [Param(name, str(value)) for name, value in params.items() if value is not None],
        [Metric(name, float(value), now, 0) for name, value in metrics_of(summary).items() if value is not None],
        [(folder / name, "") for name in OURS if (folder / name).is_file()],
    )


def metrics_of(summary: dict[str, Any]) -> dict[str, float | None]:
    """Return the numbers of an audit by name; those that are not known are None."""
    effect, trusted = summary["effect"], summary["trusted"]
    found = {arm: effect[arm] for arm in ("baseline", "refined", "random")}
    for kind in ("change", "against_random"):
        found |= {f"{kind}.{name}": effect[kind][name] for name in ("mean", "low", "high")}
    found |= {"wrong_share": trusted["expected_wrong_share"], "wrong_share.low": trusted["low"],
              "wrong_share.high": trusted["high"], "score": summary["score"]["value"]}  # fmt: skip
    found |= {f"rows.{decision}": count for decision, count in summary["decisions"].items()}
    return {**found, "seconds": summary["seconds"]}
