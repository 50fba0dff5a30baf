"""What README and docs say of GPUs, from results/gpu and from counted operations."""

import re
from pathlib import Path

from datagradient.files import read_json, read_rows
from datagradient.report.formats import wrapped

SECONDS = 3600  # an hour has
PASSES = 3  # forward passes that a step of training costs, as tools/gpu_hours.py counts
PAPER, SCORES = "ResNet-18", "record"  # in gpu.csv, the network of the preset paper, and how it is scored


def measured(results: Path) -> str:
    """Return cost and memory of both image networks on the GPU that they were measured on."""
    facts, rows = read_json(results / "provenance.json"), read_rows(results / "gpu.csv")
    card = facts["device"]
    lines = [
        f"{card['name']} ({card['clocks.max.sm']} at most, driver {card['driver_version']}), torch "
        f"{facts['libraries']['torch']}:",
        "",
        "| network, training | samples a second in training | scores | training with ÷ without a record | seconds "
        "| of training | forward passes | memory in training, scoring |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        network = (
            f"{row['network']}, {int(row['n']):,} images, {row['epochs']} epochs in {float(row['train_seconds']):.1f} s"
        )
        memory = " and ".join(f"{row[key]} MiB" for key in ("train_peak_mib", "score_peak_mib") if row[key])
        found = (row["score_seconds"], row["ratio"], row["forward_passes"])
        cells = [f"{float(cell):.2g}" if cell else "–" for cell in found]
        said = "" if row["status"] == "converged" else f" ({_shortcoming(row['status'])})"
        ratio = f"{float(row['train_ratio']):.2f}" if row["train_ratio"] else "–"
        lines.append(f"| {network} | {float(row['samples_per_second']):,.0f} | {row['scores']}{said} | {ratio} | "
                     f"{' | '.join(cells)} | {memory} |")  # fmt: skip
    return "\n".join(lines)


def _shortcoming(status: str) -> str:
    """Return in few words why there are no scores, or what is wrong with them."""
    aged = re.search(r"correlation of ([\d.]+)", status)
    return f"refused: its rank correlation with a pass is {aged[1]}" if aged else status


def hours(results: Path) -> str:
    """Return what the preset paper asks of a GPU: counted in operations, and at the measured throughput."""
    rows = read_rows(results / "benchmarks/gpu_hours.csv")
    counted = " to ".join(f"{float(row['hours']):.0f}" for row in sorted(rows, key=lambda row: float(row["hours"])))
    speeds = " and ".join(row["teraflops"] for row in sorted(rows, key=lambda row: -float(row["teraflops"])))
    one = rows[0]
    n, trainings, scorings = int(one["n"]), int(one["trainings"]), int(one["scorings"])
    text = (
        f"Counted in operations and without experiments, {trainings} trainings of {one['network']} on "
        f"{n:,} images ({one['passes_each_training']} forward passes each) and {scorings} scorings "
        f"({float(one['passes_each_scoring']):.1f} each) at {one['gigaflop_a_sample']} GFLOP a pass and image take "
        f"{counted} GPU hours at {speeds} TFLOP/s sustained."
    )
    measured_rows = read_rows(results / "gpu/gpu.csv")
    row = next((row for row in measured_rows if (row["network"], row["scores"]) == (PAPER, SCORES)), None)
    if row and row["score_seconds"]:
        samples = trainings * n * int(one["passes_each_training"]) / PASSES
        spent = samples / float(row["samples_per_second"]) + scorings * float(row["score_seconds"]) * n / int(row["n"])
        text += (
            f" At the throughput measured on an {row['card']}, {float(row['samples_per_second']):,.0f} images a second "
            f"in training, and of scoring from the record, it is {spent / SECONDS:.1f} hours."
        )
    return wrapped(text)
