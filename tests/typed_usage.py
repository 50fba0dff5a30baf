"""How typed code calls the package. mypy reads this file, and nothing runs it: a wrong call must be an error."""

from pathlib import Path
from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

from datagradient import Audit, InfluenceResult, Verification, __version__, audit, influence_scores


def right(model: Any, features: NDArray[np.float32], labels: list[str], loader: Any) -> None:
    result: InfluenceResult = influence_scores(model, (features, labels), (features, labels))
    assert_type(result.values, NDArray[np.float64])
    assert_type(result.record, dict[str, Any])
    assert_type(result.verification, Verification | None)
    assert_type(result.most_harmful(10), NDArray[np.int64])
    assert_type(result.contribution(), dict[str, float])
    assert_type(result.score((features, labels)), NDArray[np.float64])
    if result.verification is not None:
        assert_type(result.verification.positions, NDArray[np.int64])
        assert_type(result.verification.converged, NDArray[np.bool_])
    influence_scores(
        model,
        loader,
        loader,
        loss=lambda outputs, targets: (outputs - targets) ** 2,
        class_weight={"a": 2.0, "b": 1},
        sample_weight=[1.0, 2.0],
        solver={"damping": 0.01, "parameters": "all"},
        verify=5,
        seed=1,
    )
    influence_scores(model, loader, loader, class_weight="balanced", loss="cross_entropy")
    influence_scores(model, loader, loader, class_weight=[1.0, 2.0], sample_weight=np.ones(3))
    assert_type(__version__, str)


def right_audit(frame: Any, features: NDArray[np.float64], labels: list[str], classifier: Any) -> None:
    result: Audit = audit(frame, "vote")
    assert_type(result.effect, dict[str, Any])
    assert_type(result.plan, dict[str, Any])
    assert_type(result.summary, dict[str, Any])
    assert_type(result.save("audit"), Path)
    print(result.review.head(), result.apply(frame), audit(frame, progress=False))
    audit((features, labels), model=classifier, folds=3, rounds=2, fraction=0.1, max_rows=1000, time_limit=60.0, seed=1)
    audit("votes.csv", target="vote", id="name", text="answer", drop=["a", "b"], trusted_column="checked")
    audit(
        Path("a.csv"), "vote", validation=frame, test="b.csv", trusted=Path("review.csv"), folder="kept", progress=False
    )


def wrong(model: Any, data: Any) -> None:
    from datagradient import influence_score  # type: ignore[attr-defined]

    influence_score(model, data, data)
    influence_scores(model, data)  # type: ignore[call-arg]
    influence_scores(model, data, data, "cross_entropy")  # type: ignore[call-arg]
    influence_scores(model, data, data, damping=0.1)  # type: ignore[call-arg]
    influence_scores(model, data, data, solver="cg")  # type: ignore[arg-type]
    influence_scores(model, data, data, loss=1)  # type: ignore[arg-type]
    influence_scores(model, data, data, verify=None)  # type: ignore[arg-type]
    scores: list[float] = influence_scores(model, data, data)  # type: ignore[assignment]
    influence_scores(model, data, data).most_harmful("10")  # type: ignore[arg-type]
    print(scores, influence_scores(model, data, data).worst)  # type: ignore[attr-defined]
    audit()  # type: ignore[call-arg]
    audit(data, "vote", "logistic")  # type: ignore[call-arg]
    audit(data, "vote", options=None)  # type: ignore[call-arg]
    audit(data, target=3)  # type: ignore[arg-type]
    audit(data, folds="5")  # type: ignore[arg-type]
    audit(data, time_limit="60")  # type: ignore[arg-type]
    print(audit(data).rewiew)  # type: ignore[attr-defined]
