"""Influence scores of published libraries on trained networks of this project, for a comparison of cost and quality.

A method takes a network that returns logits, tensors of training samples x (n, ...) and labels y (n,), the same for
validation samples, and a damping δ > 0. It returns −g_iᵀ (H + δI)⁻¹ ∇L_V, an array (n,): above 0, the sample hurts.

Settings are those of the libraries' documentation, in single precision, with H averaged over CURVATURE_SAMPLES training
samples. If public parts of a library can solve for the gradient of the mean validation loss, they are used: one system
instead of one for every sample or batch. Other deviations are described at each method. A first call also imports the
library.
"""

import copy
import functools
import gc
import tempfile
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

CURVATURE_SAMPLES = 1000  # a multiple of the batch sizes, because pyDVL weights all batches of H equally
SMALL_BATCH = 32  # for LiSSA's steps, and for pyDVL's EK-FAC, whose gradients cost the square of the batch size


def captum_tracin(network: nn.Module, x, y, x_val, y_val, damping: float) -> np.ndarray:
    """Return TracInCPFast's scores: H is the identity, and only the weight of the last linear layer counts.

    Captum passes the validation samples through the model again for every batch of training samples. Because its
    scores depend only on the inputs of the last layer, these are computed once, and captum's model is that layer.
    """
    from captum.influence import TracInCPFast

    network = _prepared(network)
    last = [layer for layer in network.modules() if isinstance(layer, nn.Linear)][-1]
    train = DataLoader([(_inputs_of(last, network, x), y)], batch_size=None)
    method = TracInCPFast(last, last, train, ["trained"], lambda *_: 1.0, nn.CrossEntropyLoss(reduction="sum"))
    batches = _batches(_inputs_of(last, network, x_val), y_val)
    return -_numpy(sum(method.influence(batch).sum(dim=0) for batch in batches) / len(y_val))


def pydvl_ekfac(network: nn.Module, x, y, x_val, y_val, damping: float) -> np.ndarray:
    """Return pyDVL's EK-FAC scores, which cover only linear layers: it supports no others."""
    from pydvl.influence.torch import EkfacInfluence
    from pydvl.influence.torch.base import TorchGradientProvider

    network = _prepared(network)
    for layer in network.modules():  # from outer to inner modules
        layer.requires_grad_(isinstance(layer, nn.Linear))
    method = EkfacInfluence(network, update_diagonal=True, hessian_regularization=damping).fit(_curvature(x, y))
    s = sum(method.influence_factors(*batch).sum(dim=0) for batch in _batches(x_val, y_val, SMALL_BATCH)) / len(y_val)
    return _pydvl_scores(TorchGradientProvider(network, cross_entropy, method.model_params), s, x, y)


def pydvl_lissa(network: nn.Module, x, y, x_val, y_val, damping: float) -> np.ndarray:
    """Return pyDVL's scores by LiSSA; H is the mean of g_i g_iᵀ, as in its documentation."""
    from pydvl.influence.torch import LissaInfluence, SecondOrderMode

    options = {"second_order_mode": SecondOrderMode.GAUSS_NEWTON, "warn_on_max_iteration": False}
    method = LissaInfluence(_prepared(network), cross_entropy, regularization=damping, **options)
    block = method.fit(_curvature(x, y, SMALL_BATCH)).block_mapper[""]
    gradient = _mean_gradient(method.model, x_val, y_val)

    def solve(scale: float) -> Tensor:
        block.op.scale = scale
        return block.op.apply(gradient)

    return _pydvl_scores(block.gp, _stable(solve, block.op.scale, gradient.norm() / damping), x, y)


def pydvl_nystroem(network: nn.Module, x, y, x_val, y_val, damping: float) -> np.ndarray:
    """Return pyDVL's scores from Nyström's approximation of the Hessian, with rank 10 as in its documentation."""
    from pydvl.influence.torch import NystroemSketchInfluence

    method = NystroemSketchInfluence(_prepared(network), cross_entropy, regularization=damping, rank=10)
    block = method.fit(_curvature(x, y)).block_mapper[""]
    return _pydvl_scores(block.gp, block.op.apply(_mean_gradient(method.model, x_val, y_val)), x, y)


def pydvl_cg(network: nn.Module, x, y, x_val, y_val, damping: float) -> np.ndarray:
    """Return pyDVL's scores by conjugate gradients on the Hessian.

    The documented variant for simultaneous right-hand sides stops by default after ten steps for each of them; the
    other variant squares its tolerance, which single precision never reaches. The documented preconditioner is left
    out: version 0.10.0 fits it but then does not use it, because its method `fit` returns None.
    """
    from pydvl.influence.torch import CgInfluence

    options = {"solve_simultaneously": True, "warn_on_max_iteration": False}
    method = CgInfluence(_prepared(network), cross_entropy, regularization=damping, **options)
    block = method.fit(_curvature(x, y)).block_mapper[""]
    return _pydvl_scores(block.gp, block.op.apply(_mean_gradient(method.model, x_val, y_val)), x, y)


def kronfluence_ekfac(network: nn.Module, x, y, x_val, y_val, damping: float) -> np.ndarray:
    """Return kronfluence's EK-FAC scores, which cover linear layers and convolutions.

    Kronfluence runs the garbage collector ten times; existing objects are exempted, because that would otherwise take
    longer than everything else.
    """
    from kronfluence.analyzer import Analyzer, prepare_model
    from kronfluence.arguments import ScoreArguments
    from kronfluence.task import Task

    class Classification(Task):
        def compute_train_loss(self, batch: tuple, model: nn.Module, sample: bool = False) -> Tensor:
            logits, labels = model(batch[0]), batch[1]
            if sample:
                labels = torch.multinomial(torch.softmax(logits.detach(), dim=1), 1).squeeze(1)
            return cross_entropy(logits, labels, reduction="sum")

        compute_measurement = compute_train_loss

    gc.freeze()
    network, task, size = _prepared(network), Classification(), _batch_size(x)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.__class__ = nn.Conv2d  # kronfluence fails on subclasses
    with tempfile.TemporaryDirectory() as folder:
        analyzer = Analyzer("x", prepare_model(network, task), task, cpu=True, disable_tqdm=True, output_dir=folder)
        analyzer.fit_all_factors("ekfac", _curvature(x, y).dataset, per_device_batch_size=size)
        analyzer.compute_pairwise_scores(
            "sum", "ekfac", TensorDataset(x_val, y_val), TensorDataset(x, y), size, size,
            score_args=ScoreArguments(damping_factor=damping, aggregate_query_gradients=True),
        )  # fmt: skip
        scores = analyzer.load_pairwise_scores("sum")["all_modules"][0] / len(y_val)
    gc.unfreeze()
    return -_numpy(scores)


def dattri_cg(network: nn.Module, x, y, x_val, y_val, damping: float) -> np.ndarray:
    """Return dattri's scores by conjugate gradients on the Hessian, with the default ten steps."""
    from dattri.algorithm import IFAttributorCG

    return _dattri(network, x, y, x_val, y_val, lambda task, _: IFAttributorCG(task, regularization=damping))


def dattri_lissa(network: nn.Module, x, y, x_val, y_val, damping: float) -> np.ndarray:
    """Return dattri's scores by LiSSA on the Hessian, with the 100 steps of dattri's example on label noise.

    The default is 5000 steps of one sample. Dattri's damping is added to H divided by the scale.
    """
    from dattri.algorithm import IFAttributorLiSSA

    def attributor(task, scale: float) -> IFAttributorLiSSA:
        options = {"batch_size": SMALL_BATCH, "recursion_depth": 100}
        return IFAttributorLiSSA(task, scaling=scale, damping=damping / scale, **options)

    return _dattri(network, x, y, x_val, y_val, attributor, damping)


def dattri_logra(network: nn.Module, x, y, x_val, y_val, damping: float) -> np.ndarray:
    """Return dattri's scores by LoGra: all linear layers, 64 × 64 random directions, as by default.

    Version 0.3.0 sets up its projections by one sample without a batch, unless batches are mappings; then it wants the
    loss from the model.
    """
    from dattri.algorithm import LoGraAttributor
    from dattri.task import AttributionTask

    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = _prepared(network)

        def forward(self, x: Tensor, y: Tensor) -> SimpleNamespace:
            return SimpleNamespace(loss=cross_entropy(self.network(x), y, reduction="sum"))

    def loss(model: nn.Module, batch: dict[str, Tensor], device: str) -> Tensor:
        return model(**batch).loss

    def loader(*part: Tensor) -> DataLoader:
        def collate(rows: list[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
            return {name: torch.stack(column) for name, column in zip("xy", zip(*rows, strict=True), strict=True)}

        return DataLoader(TensorDataset(*part), _batch_size(x), collate_fn=collate)

    model, train, validation = Named().eval(), loader(x, y), loader(x_val, y_val)
    with tempfile.TemporaryDirectory() as folder:  # it writes what it knows of batches, otherwise where it stands
        task = AttributionTask(loss, model, model.state_dict())
        method = LoGraAttributor(task, damping=damping, cache_dir=folder)
        method.cache(train)
        return -_numpy(method.attribute(train, validation).mean(dim=1))


def dattri_trak(network: nn.Module, x, y, x_val, y_val, damping: float) -> np.ndarray:
    """Return dattri's scores by TRAK with one network, gradients projected to 512 numbers as in its examples."""
    from dattri.algorithm import TRAKAttributor
    from dattri.task import AttributionTask

    def loss(parameters: dict[str, Tensor], sample: tuple) -> Tensor:
        return cross_entropy(functional_call(network, parameters, sample[0][None]), sample[1][None])

    def correct(parameters: dict[str, Tensor], sample: tuple) -> Tensor:
        return torch.exp(-loss(parameters, sample))

    network = _prepared(network)
    train, validation = (DataLoader(TensorDataset(*part), 100) for part in ((x, y), (x_val, y_val)))
    task = AttributionTask(loss, network, network.state_dict())
    method = TRAKAttributor(task, correct, {"proj_dim": 512, "device": "cpu"})
    method.cache(train)
    return -_numpy(method.attribute(validation).mean(dim=1))


def dattri_llm_ekfac(network: nn.Module, x, y, x_val, y_val, damping: float) -> np.ndarray:
    """Return dattri-llm's EK-FAC scores, which cover linear layers and convolutions; see `_dattri_llm`."""
    from dattri_llm import EKFACAttributor

    return _dattri_llm(network, x, y, x_val, y_val, damping, EKFACAttributor)


def dattri_llm_kfac(network: nn.Module, x, y, x_val, y_val, damping: float) -> np.ndarray:
    """Return dattri-llm's K-FAC scores, which cover linear layers and convolutions; see `_dattri_llm`.

    The damping is added to each of the two factors of a layer's H, as always in dattri-llm, and not to their product.
    """
    from dattri_llm import KFACAttributor

    return _dattri_llm(network, x, y, x_val, y_val, damping, KFACAttributor)


METHODS: dict[str, Callable] = {
    "captum TracInCPFast": captum_tracin,
    "pyDVL EK-FAC": pydvl_ekfac,
    "pyDVL LiSSA": pydvl_lissa,
    "pyDVL Nystroem": pydvl_nystroem,
    "pyDVL CG": pydvl_cg,
    "kronfluence EK-FAC": kronfluence_ekfac,
    "dattri CG": dattri_cg,
    "dattri LiSSA": dattri_lissa,
    "dattri LoGra": dattri_logra,
    "dattri TRAK": dattri_trak,
    "dattri-llm EK-FAC": dattri_llm_ekfac,
    "dattri-llm K-FAC": dattri_llm_kfac,
}


def _pydvl_scores(provider, s: Tensor, x: Tensor, y: Tensor) -> np.ndarray:
    """Return the scores from pyDVL's forward-mode products, which are faster than its gradients of single samples."""
    from pydvl.influence.torch.base import TorchBatch

    products = [provider.jacobian_prod(TorchBatch(*batch), s.reshape(1, -1))[0] for batch in _batches(x, y)]
    return -_numpy(torch.cat(products))


def _dattri(network: nn.Module, x, y, x_val, y_val, attributor: Callable, damping: float = 0) -> np.ndarray:
    """Return dattri's scores from per-sample gradients; its own `attribute` would solve again for every batch."""
    from dattri.task import AttributionTask

    def loss(parameters: dict[str, Tensor], batch: tuple) -> Tensor:
        return cross_entropy(functional_call(network, parameters, batch[0]), batch[1].long())

    network = _prepared(network)
    task, gradient = AttributionTask(loss, network, network.state_dict()), _mean_gradient(network, x_val, y_val)

    def solve(scale: float) -> Tensor:
        method = attributor(task, scale)
        method.cache(_curvature(x, y, CURVATURE_SAMPLES))  # one batch: dattri adds up the batches' solutions
        return method.transform_test_rep(0, gradient.unsqueeze(0))[0]

    s = _stable(solve, 50.0, gradient.norm() / damping)
    parameters, gradients = task.get_param(0)[0].detach(), task.get_grad_loss_func()
    batches = ((part.unsqueeze(0) for part in batch) for batch in _batches(x, y, 100))
    return -_numpy(torch.cat([gradients(parameters, tuple(batch)) @ s for batch in batches]))


def _dattri_llm(network: nn.Module, x, y, x_val, y_val, damping: float, kind: type) -> np.ndarray:
    """Return the scores of one of dattri-llm's attributors; H is the mean of g_i g_iᵀ, as in its documentation.

    Its own `attribute` would score every pair of a training and a validation sample, and needs transformers to compute
    gradients. Instead, its hooks deliver batches of gradients, and its attributor solves for the mean gradient.
    """
    from dattri_llm import AttributionArguments, HookManager, HookManagerConfig
    from dattri_llm.gradient import ops
    from dattri_llm.gradient.callbacks import CaptureCallback
    from dattri_llm.gradient.gradient import Gradient

    network = _prepared(network)
    layers = {name: layer for name, layer in network.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)}
    for layer in layers.values():
        if isinstance(layer, nn.Conv2d):
            layer.__class__ = nn.Conv2d  # dattri-llm fails on subclasses
    latest, config = CaptureCallback(), HookManagerConfig(hook_types=dict.fromkeys(layers, "linear_io"))
    hooks = HookManager(network, config, [latest])

    class Gradients:
        reusable = True  # EK-FAC reads them twice

        def __init__(self, batches: Iterable):
            self.batches = batches

        def __iter__(self) -> Iterator[tuple]:
            for step, (inputs, labels) in enumerate(self.batches):
                with hooks.collect():
                    cross_entropy(network(inputs), labels, reduction="sum").backward()
                yield step, latest.record.gradient, latest.record.input_hash

    def total(_: str, value, layer_type: str) -> Tensor:
        return ops.materialize(value, layer_type).sum(dim=0, keepdim=True)

    def solution(name: str, totals: Tensor, layer_type: str) -> Tensor:
        return method.precondition_test_layer(totals.sum(dim=0, keepdim=True) / len(y_val), layer_type, factors[name])

    method = kind(AttributionArguments(tempfile.gettempdir(), use_cpu=True))  # nothing is written
    factors, _ = method.damp_fit(method.fit_raw(Gradients(_curvature(x, y))), damping)
    totals = [gradient.map_layers(total) for _, gradient, _ in Gradients(_batches(x_val, y_val))]
    s = functools.reduce(Gradient.concatenate, totals).map_layers(solution)
    products = [gradient.similarity(s, reduce="all")[:, 0] for _, gradient, _ in Gradients(_batches(x, y))]
    return -_numpy(torch.cat(products))


def _stable(solve: Callable[[float], Tensor], scale: float, bound: Tensor) -> Tensor:
    """Return LiSSA's solution with the library's scale, or with ten or a hundred times that scale if it diverges.

    For H ≥ 0 no solution S has ‖S‖ > ‖∇L_V‖ / δ, so such an S counts as divergence, and so does pyDVL's error on NaNs.
    """
    for factor in (1, 10, 100):
        try:
            s = solve(scale * factor)
        except RuntimeError as error:
            if "NaNs" not in str(error):
                raise
        else:
            if s.norm() <= bound:
                return s
    raise ArithmeticError(f"the solver diverges, even with a scale of {scale * factor:g}")


def _prepared(network: nn.Module) -> nn.Module:
    """Return a copy of a network that the libraries may modify, and seed torch."""
    torch.manual_seed(0)
    return copy.deepcopy(network).eval()


def _curvature(x: Tensor, y: Tensor, size: int | None = None) -> DataLoader:
    rows = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))[:CURVATURE_SAMPLES]
    return DataLoader(TensorDataset(x[rows], y[rows]), batch_size=size or _batch_size(x))


def _mean_gradient(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    for inputs, labels in _batches(x, y):
        cross_entropy(network(inputs), labels, reduction="sum").backward()
    return torch.cat([parameter.grad.reshape(-1) for parameter in network.parameters()]) / len(y)


@torch.no_grad()
def _inputs_of(layer: nn.Module, network: nn.Module, x: Tensor) -> Tensor:
    layer_inputs: list[Tensor] = []
    with layer.register_forward_pre_hook(lambda _, inputs: layer_inputs.append(inputs[0])):
        for batch in x.split(_batch_size(x)):
            network(batch)
    return torch.cat(layer_inputs)


def _batch_size(x: Tensor) -> int:
    return 100 if x.ndim == 4 else 1000 if x.is_floating_point() else 500


def _batches(x: Tensor, y: Tensor, size: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(*(part.split(size or _batch_size(x)) for part in (x, y)), strict=True)


def _numpy(scores: Tensor) -> np.ndarray:
    if not torch.isfinite(scores).all():
        raise ArithmeticError("the scores are not finite")
    return scores.detach().double().numpy()
