"""The words under tables and figures: for Markdown, LaTeX, pages and Snakemake's report. Imports nothing heavy."""

import contextlib
from pathlib import Path

from datagradient.errors import UserError
from datagradient.files import replacing

_DIFFERENCES = (
    "Numbers are means over seeds; differences are in percentage points, paired by seed, with Student's 95 % t "
    "interval."
)
_Q = "q is p after Benjamini-Hochberg over all comparisons of one policy with one other at one noise rate."

_RATIO = (
    "The share is (refined - noisy) / (true labels - noisy), of test accuracies: 0 is the model trained with the wrong "
    "labels, 1 the model trained with the right ones; below 0, the policy does harm. It is a ratio of means over "
    "seeds, and in pooled lines of sums of these over data sets and models, which count alike."
)
_SHARE = f"{_RATIO} The ideal models see no validation label, and stand for both kinds of validation."
_TRUSTED = (
    "So many labels, drawn at random from both validation parts, are trusted, and no other validation sample is used. "
    "Crossfit removes half as many training samples as labels seem wrong, the most harmful by cross-fitted models; "
    "repair relabels the harmful ones whose right label is clear, and removes the others; loss removes as many as "
    "crossfit, by the largest losses of the same models; influence at most as many, by the influence of the unrefined "
    "model on the trusted samples; added removes nothing, and trains on the trusted samples too. Without any, the "
    "folds of the training part alone judge, and influence and added change nothing."
)
_CHECKED = (
    "So many training samples get their right labels, chosen without any trusted label, and the model is trained "
    "again; a label that was right counts as checked too. Random: drawn at random. By models that have not seen the "
    "sample, doubtful: the highest probability that the label is wrong; loss: the largest loss; uncertain: the least "
    "certain prediction. Harmful: the largest influence on the folds that a model was not trained on, whose labels are "
    "as wrong as the others."
)
_SOLVERS = (
    "Networks are scored in several ways: by the default solver, or, where that is the record, by conjugate gradients "
    "in its place (cg, or ekfac+cg with EK-FAC for a preconditioner); by the record of what the last layer took in "
    "the last epoch of training (record); by a converged solve over all layers, unless the default is one (cg-all); "
    "and by LiSSA over all layers, as in the paper (lissa). Other families are scored by their default alone."
)
_KEPT = (
    "Where scores come from a record, two things are not in their share: what keeping it adds to training, and the "
    "pass over the validation samples, which an evaluation makes anyway."
)
_FEW_SEEDS = "over the first seeds of the preset, whose number is named; few seeds cover far less than 95 %"

TABLES = {
    "verdict": "Each claim of the paper, what was measured, and the verdict. Claims are judged on the data as "
               "published, influence against the unrefined baseline, by the rules of "
               "src/datagradient/evidence/claims.py, which also says what was known when they were written. Results "
               "with flipped labels count only for C6, which they can make partly confirmed. Beside the verdict "
               "stands what the same rule says of flipped labels (20 percent, others by name) and of labels that "
               "people gave (worse_label, others by name), in the same unit and with the same kind of interval (that "
               "of C3 reaches from the smallest to the largest); and, as in the paper, of networks scored by LiSSA "
               "over all layers, for C1, C2, C3 and C5. An empty cell was not run, was not judged, or has no "
               "condition. A pooled interval applies only to these data sets and their test sets.",
    "recovered": f"How much of the accuracy that wrong labels cost each policy recovers. {_SHARE} Brackets contain "
                 "95 % percentile bootstrap intervals over seeds, which with five seeds or three cover far less than "
                 "95 %; a dash means that right labels gain nothing. Oracle_removal removes exactly the wrong labels: "
                 "the most that removal can do, known to nobody. What a policy costs stands in the column trainings of "
                 "recovered.csv among the results: the models that it needs, the unrefined one and those of its "
                 "cross-fitting included, of its own family only; where repair goes by cheaper families too, "
                 "their folds count by their training time divided by that of the family.",
    "main": "Refinement by influence after the last iteration, on the test set: against the unrefined baseline (does "
            f"it help?) and against random removal of as many samples (is it influence that helps?). {_DIFFERENCES} p "
            "is one-sided (refined is better; the table of tests has two-sided ones), from the exact Wilcoxon test. "
            f"{_Q} Random removal takes as many samples from each class as influence did, which by itself shifts the "
            "balance of the classes and can lower F1 a lot; uniform removal, the neutral control, draws from all "
            "samples alike. Solves that stop after a fixed number of steps do not count as unconverged.",
    "controls": f"Every policy against the unrefined baseline, side by side. {_DIFFERENCES} Those that go round by "
                "round remove equally many samples and score again in each round, except confident, which rates the "
                "labels once, and guarded, which keeps one of the iterations of influence (+0.00 [+0.00, +0.00]: "
                "always the unrefined model). Of those that decide once, crossfit and its controls remove equally "
                "many.",
    "safety": "How often, and by how much, a policy ends below its own unrefined baseline on test accuracy, over all "
              "data sets, models and seeds. Guarded is designed to prevent this. Changed any: runs in which the "
              "policy removed or relabelled samples. Changes are in percentage points. Worse and better: the t "
              "interval over seeds lies below or above 0.",
    "pooled": "Tests over all data sets and models together, which can reach significance where the seeds of one data "
              "set cannot. A unit is one split of one data set, averaged over the models that this seed has. "
              f"{_DIFFERENCES} p is from the exact Wilcoxon test. {_Q} Optimism is the gain in validation accuracy "
              "minus the gain in test accuracy; it is a separate family, and its one-sided alternative is more than "
              "0. Splits of one data set share samples, and the data sets are few: these tests hold for these data "
              "sets and test sets, not for others.",
    "rounds": "Change against the unrefined baseline after each round of removal, pooled over data sets and models as "
              f"in the pooled tests. {_DIFFERENCES} The last column that a policy has is the one that is tested: as "
              "many rounds as in the paper, or for those that decide once, the first. The others show whether fewer "
              "rounds would have been better; no round was chosen by them.",
    "tests": "All comparisons on the test set after the last iteration. Differences are in percentage points, paired "
             f"by seed. {_Q} The smallest p is the smallest that so many seeds can reach, one-sided / two-sided. "
             "Unconverged solves are those of the policy's models and of their baseline.",
    "effects": "Effect sizes of refinement by influence: Cohen's d (standard deviation pooled over seeds) with a "
               "percentile bootstrap interval over seeds; d_z of paired differences; Hedges' g. With five seeds the "
               "interval covers about 83 percent instead of 95, and where the deviation is small it reaches values "
               "that five seeds cannot support.",
    "iterations": "All iterations, means over seeds. Optimism is the gain in validation accuracy minus the gain in "
                  "test accuracy, in points. Changes of loss are against iteration 0. Flipped removed is the share of "
                  "the samples removed in this iteration whose label was flipped.",
    "detection": "How well each score finds the labels that are known to be wrong: scores of the unrefined models, "
                 "mean and standard deviation over seeds. Precision and recall are among as many samples as the first "
                 "round removes; recall cannot exceed this number divided by the number of wrong labels. Confident, "
                 "and those of policies that decide once, use models from cross-fitting.",
    "tracking": "Does the dataset contribution score follow test accuracy? Definitions of the score, those that end in "
                "_selection against validation samples that chose nothing; Spearman correlation over the iterations of "
                "each run of influence, four points in three rounds, averaged over runs (unit: one split of one data "
                "set). The number of the iteration is not a score: a score that rises in every round says no more than "
                "that number. C6 asks for 0.5, which is our number.",
    "costs": "What influence costs beside the training of the same models: mean seconds per trained model, and all "
             f"seconds of influence over all seconds of training. {_KEPT} Two jobs may have run at once, so compare "
             "the ratio. Stopped by count: solves with a fixed number of steps, which missed no tolerance.",
    "orchestration": "Where a run's time went, by the clock, from the first line of output to the report. Outside is "
                     "all except training, cross-fitting (folds), predicting and scoring: starting programs, "
                     "loading, preparing, experiments, writing, scheduling, tables, figures, MLflow, the report.",
    "data": "Data sets: samples of each part, features, and samples of one part that are in another one too (range "
            "over seeds).",
    "environment": "What the results were made with: code, libraries, machine, data.",
    "scalability": "What influence costs as the training set grows: one training, and the median of repeated scorings "
                   f"of the same model by each solver, alone on the machine, on one thread. {_SOLVERS} Seconds of "
                   "training, and all shares of it, are those of training that keeps nothing; how much longer "
                   "training takes where it keeps a record is apart, and so is the record's size. Where a record is "
                   f"too old, scoring takes a pass, and the row says so; a solver that fails has no row. {_KEPT} "
                   "Curvature is the number of samples that it is averaged over; where these are all, one pass over "
                   "them serves both the solve and the projection of a last layer, and counts as part of the solve. "
                   "Three rounds is the other reading of the paper's ratio, extrapolated from this one in proportion "
                   "to the samples that are left: all influence of three iterations over one training, and with the "
                   "three trainings that follow. Forward passes is the cost in plain forward passes over the training "
                   "set. Enlarged sets hold mirror images and shifts too, for cost alone. Memory is that of a process "
                   "that only scores: the training samples, what training kept of them, what scoring adds to all that "
                   "is loaded, the peak of scoring.",
    "slopes": "How training and influence grow with the training set, by solver: the least-squares slope of log "
              "seconds against log n, with Student's t interval. 1 is growth in proportion; less means that a fixed "
              "part still counts. Training does not depend on the solver. Sizes are those of the slope of influence, "
              "without those at which a record was too old; slopes of single steps are over the ones above the sample "
              "that curvature is averaged over, if there is one.",
    "streamed": "Scoring more samples than fit in memory: one S, and a stream of images and their variants, a chunk "
                "at a time, on one thread. Time grows with their number, memory does not. Seconds are those of the "
                "scores along S. Memory is that of the process, which has trained the model and holds the original "
                "images too. Only cost is measured.",
    "fidelity": "Do scores predict what happens when samples are removed? Predicted against actual change of the loss "
                "on the influence part. Halves: the linear datamodeling score, a rank correlation over models trained "
                "on random halves. Single: the rank correlation over single removals, evenly spaced in the order of "
                "the scores. A proximal refit stays near the trained parameters (for logistic regression it is the "
                "exact refit); the slope is that of its change against the predicted one. Retrained: the mean over "
                "initialisations, against the mean score of the same models. Random variation: the variance of that "
                "mean due to the initialisation, relative to the variance between samples; near or above 1, "
                "retraining shows nothing else. Intervals are 95 percent bootstrap intervals over halves or samples. "
                "Initialisations: agreement of the scores of models that differ only in their seed, over all samples "
                "(Kendall's tau) and over those that would be removed (Jaccard index). All on one split; for networks "
                "it is the one on which, with other random halves, their solvers were chosen.",
    "trusted": "How many labels must be right? How much of the accuracy that wrong training labels cost is recovered, "
               f"by the number of trusted validation labels. {_TRUSTED} {_RATIO} Brackets contain 95 % percentile "
               f"bootstrap intervals {_FEW_SEEDS}; a share without them has none. A dash means that right labels gain "
               "nothing. Read down a column: where it stops rising, more trusted labels bring no more. Read across: "
               "where repair is above added, trusted labels are worth more as judges than as training samples.",
    "checked": "Which training labels should be checked by hand first? How much of the accuracy that wrong labels cost "
               f"is recovered, by the number of labels that are checked. {_CHECKED} {_RATIO} Brackets contain 95 % "
               f"percentile bootstrap intervals {_FEW_SEEDS}; a share without them has none. A dash means that right "
               "labels gain nothing. Read across: the way with the largest share finds first the labels that matter.",
    "sensitivity": "How far scores and removals depend on damping, solver, curvature and validation samples, at the "
                   "highest noise rate, on one split: agreement with the scores of the default (Kendall's tau of all "
                   "samples, Jaccard index of those that would be removed); LiSSA and the kinds of curvature are "
                   "compared with the first row of the same kind. Beside it the linear datamodeling score and the "
                   "AUROC of finding flipped labels. The exact Hessian takes three steps, because more meet negative "
                   "curvature. Nothing was chosen by this table.",
    "peers": "Published libraries beside this project, on the same trained networks, in one process: cost in plain "
             "forward passes over the training set and in multiples of ours; quality as in the table of solvers. Rank "
             "correlation: with a converged solve over all layers.",
    "policies": "Candidates for removal and relabelling on development seeds: each decides once by training and "
                "validation samples, and its model is judged by development samples that no candidate sees; no test "
                "sample is read. Recovered: (refined - noisy) / (true labels - noisy), of accuracies, means over seeds "
                "summed over data sets and models, which count alike: 0 is the model trained with the wrong labels, 1 "
                "the model trained with the right ones. Labels as published (0) are not known to be wrong: there it is "
                "the mean change of accuracy in percentage points. Of oracle removal: the gain as a share of the gain "
                "by removal of exactly the wrong labels. A column for each model family holds the same share or change "
                "over its data sets alone. Precision: the share of wrong labels among the samples removed or "
                "relabelled. A dash: nothing can be recovered, no label is known to be wrong, or no sample is touched. "
                "Candidates that say no number themselves remove as many as the policy crossfit. Trainings: the models "
                "of the family that a candidate costs, the unrefined one, those of its folds and the last; folds of "
                "cheaper families count by their training time divided by that of the family, and folds that only say "
                "how many to remove do not count. Rows over different data sets and models cannot be compared.",
    "rates": "What a record of the last epoch costs in exactness where the learning rate is still large then: scores "
             "by the last layer from the record against those by a pass, of the same networks, with flipped labels; "
             "ranges are over seeds. Compared: some samples whose values training computes again at the end; below a "
             "rank correlation of 0.95 in one of their groups the record is refused, and the samples pass again.",
    "solvers": "Cost and quality of solvers and dampings on one model each. Forward passes: cost in plain forward "
               "passes over the training set. AUROC: of finding wrong labels. LDS: linear datamodeling score, the "
               "rank correlation with the loss of models trained on random halves. Rank correlation: with the scores "
               "of a converged solve at the same damping, for networks over all layers. All on validation data, one "
               "seed. Intervals are over the random halves alone; the best is the best of all rows, so gaps to it are "
               "biased upwards. The default's time is the median of five, the others' a single one. A high LDS means "
               "that the scores predict the loss of the part that they are computed against, not that removal helps "
               "test accuracy.",
}  # fmt: skip

_BARS = "Points are means over seeds, bars are 95 % intervals (Student's t)."
_POLICIES = (
    "Influence removes the samples that raise the validation loss most; guarded stops it where samples held out from "
    "scoring say so; random removes as many of each class, drawn at random; uniform removes as many of all samples "
    "alike."
)
_OVER_ITERATIONS = (
    f"against the unrefined baseline of the same seed, in percentage points. {_BARS} {_POLICIES} Above zero, training "
    "without the removed samples is better; above uniform, it matters which samples were removed."
)
_VARIED = (
    "at the highest noise rate, on one split: the linear datamodeling score, the AUROC of finding flipped labels, and "
    "how many of the samples that would be removed are the same as with the default. Nothing was chosen by this "
    "figure."
)
FIGURES = {
    "pipeline": "What is computed: a model is trained on D_k, every training sample is scored against the influence "
                "part of the validation data, harmful samples are removed, and training starts again. The selection "
                "part decides (policy guarded), the test part only measures.",
    "summary": "How much of the accuracy that wrong labels cost each policy recovers, pooled over data sets and "
               f"models. {_SHARE} Bars are 95 % percentile bootstrap intervals over seeds, which with five seeds or "
               "three cover far less than 95 %. The axis is linear up to ±1 and logarithmic beyond.",
    "recovered": "How much of the accuracy that wrong labels cost each policy recovers, by condition, pooled on top. "
                 f"{_SHARE} Bars are 95 % percentile bootstrap intervals over seeds, which with five seeds or three "
                 "cover far less than 95 %. Dashed: removal of exactly the wrong labels, the most that removal can do. "
                 "The axis is linear up to ±1 and logarithmic beyond.",
    "accuracy": f"Change of test accuracy {_OVER_ITERATIONS}",
    "f1": f"Change of test F1 {_OVER_ITERATIONS}",
    "controls": "Every policy after the last iteration against the unrefined baseline. Those that go round by round "
                "remove equally many samples, except guarded; of those that decide once, crossfit and its controls do. "
                f"{_BARS} Gradient is influence with the identity for the Hessian: where it "
                "does as well, the Hessian is not what helps. Loss removes the largest training losses, confident the "
                "lowest label quality by confident learning.",
    "effects": "Cohen's d (standard deviation pooled over seeds) of test accuracy after the last iteration: "
               "refinement by influence against the unrefined baseline and against random removal of as many samples, "
               "with the same classes (random) and from all alike (uniform). Lines are 95 % percentile bootstrap "
               "intervals over seeds, which with five seeds cover about 83 %. The paper's range, 0.41 to 1.12, is "
               "shaded. The axis is linear up to ±1 and logarithmic beyond.",
    "contribution": "Dataset contribution score (our definition: the mean of tanh(−I/s)) against test accuracy: the "
                    "iterations of refinement by influence as a path, means over seeds with 95 % intervals. Where "
                    "both rise or both fall, the score follows accuracy; where the path runs from top left to bottom "
                    "right, it does the opposite.",
    "optimism": "Gain on the validation samples that scores are computed against, and gain on the test samples, after "
                "the last iteration; means over seeds with 95 % intervals. Below the diagonal, validation gains more "
                "than test: removal against one validation set fits that set. Hollow: as many samples removed at "
                "random.",
    "influence": "Influence of every training sample on the validation loss before refinement, all seeds together, in "
                 "units of each model's standard deviation; positive is harmful, and scores beyond ±4 are in the "
                 "outermost bins. Where labels are known to be wrong, these samples are drawn apart: the further right "
                 "they are, the better influence finds them.",
    "detection": "How many of the wrong labels are found when training samples are looked at in the order of each "
                 "score, means over seeds. The diagonal is random order. Confident, and those of policies that decide "
                 "once, come from cross-fitting, the others from one training.",
    "gallery": "Training samples of one unrefined model: those whose influence on the validation loss is largest "
               "(harmful) and smallest (helpful), with their label and influence. A harmful sample need not be wrong: "
               "rare or ambiguous ones are often among them.",
    "scalability": "Influence over training as the training set grows, both axes logarithmic: one scoring over one "
                   f"training of the same model, alone on the machine, on one thread. {_SOLVERS} Below the dashed "
                   "line, influence costs less than the paper says. A line that falls has a fixed part, which more "
                   "training outweighs; a level one grows as training does. What keeping a record adds to training is "
                   "not in its line. Hollow: the solve missed its tolerance, or the record was too old and scoring "
                   "took a pass.",
    "streamed": "Scoring a stream of images and their variants with one S, a chunk in memory at a time: time grows in "
                "proportion, memory does not.",
    "fidelity": "Rank correlation of predicted with actual change of the validation loss, 95 % bootstrap intervals. "
                "Random halves: models trained on random halves of the training set (linear datamodeling score), by "
                "three scores. Single samples: one sample is removed, and the model refit near the trained parameters "
                "(proximal; for logistic regression the exact refit) or retrained. 1 is perfect, 0 is no relation.",
    "single": "Removing one sample: the change of the validation loss that influence predicts, and the one that a "
              "proximal refit finds. On the diagonal the prediction is exact.",
    "trusted": "How many labels must be right? The share of the accuracy that wrong training labels cost that is "
               "recovered, by the number of trusted validation labels, over all models; the numbers stand at equal "
               f"distances. {_TRUSTED} {_RATIO} Bars are 95 % percentile bootstrap intervals {_FEW_SEEDS}. The axis is "
               "linear up to ±1 and logarithmic beyond. Where a line gets level, more trusted labels bring no more; "
               "where repair is above added, they are worth more as judges than as training samples.",
    "checked": "Which training labels should be checked by hand first? The share of the accuracy that wrong labels "
               "cost that is recovered, by the number of training labels that are checked, over all models; the "
               f"numbers stand at equal distances. {_CHECKED} {_RATIO} Bars are 95 % percentile bootstrap intervals "
               f"{_FEW_SEEDS}. The axis is linear up to ±1 and logarithmic beyond. The highest line finds first the "
               "labels that matter; how far it is above random is what its order is worth.",
    "fractions": "Test accuracy after one round of removal, by how much is removed; each line is a seed. Nothing was "
                 "chosen by this figure: the share in use was fixed beforehand.",
    "solvers": "Solvers and dampings for networks: cost in plain forward passes over the training set, and quality as "
               "the AUROC of finding wrong labels and the linear datamodeling score. The default is circled; the "
               "dotted line is at five passes.",
    "damping": f"What changes with the damping, {_VARIED}",
    "solver": f"What changes with the solver, {_VARIED}",
    "curvature": f"What changes with the kind of curvature, {_VARIED}",
    "curvature-samples": f"What changes with the number of samples that curvature is averaged over, {_VARIED}",
    "validation-samples": f"What changes with the number of validation samples, {_VARIED}",
    "lissa-steps": f"What changes with the number of LiSSA's steps, {_VARIED}",
    "lissa-batch": f"What changes with the size of LiSSA's batches, {_VARIED}",
}  # fmt: skip
# Figure, or table that stands in for one -> the question that it answers, and how to read the answer off it.
QUESTIONS = {
    "recovered": ("How much of the harm by wrong labels is undone?",
                  "The further to the right, the better: at 1 a policy is as good as right labels, left of 0 it does "
                  "harm."),
    "accuracy": ("Does removal raise test accuracy?",
                 "Above zero, the model is better without the removed samples; above removal at random, it matters "
                 "which samples were removed."),
    "controls": ("Is it influence that helps?",
                 "Compare influence with uniform, and crossfit, where it was run, with crossfit_uniform: these remove "
                 "as many samples at random, and only what lies to the right of them is due to influence."),
    "effects": ("How large are the effects?",
                "In the shaded band they are as large as the paper says; left of zero, refinement does harm."),
    "optimism": ("Does validation tell the truth?",
                 "Below the diagonal, validation gains more than test: removal has fitted the validation samples."),
    "detection": ("Are wrong labels found?",
                  "The higher a curve, the sooner a score finds the wrong labels; the diagonal is random order."),
    "influence": ("Which samples does influence call harmful?",
                  "Samples right of zero raise the validation loss, the further the more."),
    "scalability": ("What does influence cost?",
                    "Below the dashed line influence costs less than the paper says."),
    "costs": ("What does influence cost?",
              "Influence / training is the cost of scoring in units of the training of the same models."),
}  # fmt: skip
# The first words of Snakemake's report, which fills in the preset.
REPORT = (
    '**Does removing harmful training samples help?** Preset *{{ snakemake.config["preset"] }}*. Models are trained, '
    "every training sample is scored by its influence on the validation loss, the most harmful are removed, and the "
    "models are trained again. Read in the order of the sections: the verdict on each of the paper's claims; the main "
    "results; the controls, which remove as many samples otherwise; what happens over the iterations; the scores; what "
    "they cost; all details."
)
_FILES = "Made from the result files of this run; the same table is beside it as Markdown and LaTeX."


def write_captions(folder: Path) -> None:
    """Write each caption to a file of its own, as Snakemake's report reads them: tables/main.rst, report.rst …

    Where nothing can be written, nothing is: to plan takes no more than reading.
    """
    texts = {f"tables/{name}": f"{caption}\n\n{_FILES}" for name, caption in TABLES.items()}
    texts |= {f"figures/{name}": caption for name, caption in FIGURES.items()} | {"report": REPORT}
    with contextlib.suppress(UserError):
        for name, text in texts.items():
            path = folder / f"{name}.rst"
            if not path.exists() or path.read_text(encoding="utf-8") != f"{text}\n":
                with replacing(path) as stream:
                    stream.write(f"{text}\n")
