"""Running the caller's network and restoring its state.

Passes run in evaluation mode, with the problem's own tensors as parameters and buffers. The network is in that state
during a pass, so two threads must not share one network.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from datagradient.influence.batches import Arrays, Batches, Inputs, Samples, leaves, length, mapped
from datagradient.influence.solvers import SolverError

PRECISIONS = (torch.float32, torch.float64)
PUSH, SLACK = 50, 1e-4  # size of the parameters that drive a logit out of [0, 1], and how far out it must be
PASSES_DIFFER = (
    "two passes over the same samples differ: the network has dropout, batch normalisation or another layer that makes "
    "a sample's loss random or dependent on its batch"
)
Switch = tuple[Callable[[], Any], Callable[[Any], None], Any]  # reads it, sets it, and a value
FAST_ATTENTION = (
    (torch.backends.mha.get_fastpath_enabled, torch.backends.mha.set_fastpath_enabled),
    (torch.backends.cuda.flash_sdp_enabled, torch.backends.cuda.enable_flash_sdp),
    (torch.backends.cuda.mem_efficient_sdp_enabled, torch.backends.cuda.enable_mem_efficient_sdp),
    (torch.backends.cuda.cudnn_sdp_enabled, torch.backends.cuda.enable_cudnn_sdp),
)


def precision_switches() -> list[Switch]:
    """Return the switches of rounding the factors of products in single precision to ten bits (TF32).

    Each is a function that reads it, one that sets it, and the value that forbids it. Convolutions on a GPU are rounded
    by default.
    """
    convolutions, products = torch.backends.cudnn, torch.backends.cuda.matmul
    return [
        *_whole_or_parts(_attribute(convolutions, "allow_tf32", False), lambda: (convolutions.conv, convolutions.rnn)),
        *_whole_or_parts((torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "highest"),
                         lambda: (products,)),
    ]  # fmt: skip


def _whole_or_parts(switch: Switch, parts: Callable[[], tuple[Any, ...]]) -> list[Switch]:
    """Return a switch, or those of its parts where it cannot say how they are set, as can happen from torch 2.9 on."""
    try:
        switch[0]()
    except RuntimeError:
        return [_attribute(part, "fp32_precision", "ieee") for part in parts()]
    return [switch]


def _attribute(place: Any, name: str, value: Any) -> Switch:
    return lambda: getattr(place, name), lambda new: setattr(place, name, new), value


def set_single_precision() -> None:
    """Let products in single precision have its 24 bits on GPUs too.

    With ten bits two passes over the same samples differ by a thousandth, by the size of the batch alone.
    """
    for _, change, value in precision_switches():
        change(value)


@contextmanager
def single_precision() -> Iterator[None]:
    """Within this context products on a GPU have the bits of single precision; afterwards they are as before."""
    if not torch.cuda.is_initialized():  # no network can be on one
        yield
        return
    switches = precision_switches()
    before = [read() for read, _, _ in switches]
    try:
        set_single_precision()
        yield
    finally:
        for (_, change, _), value in zip(switches, before, strict=True):
            change(value)


@contextmanager
def evaluation(network: nn.Module) -> Iterator[None]:
    """Put a network in evaluation mode within this context; afterwards every module's mode is restored."""
    modes = [(module, module.training) for module in network.modules()]
    try:
        if any(mode for _, mode in modes):
            network.eval()
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def restored_generators(device: torch.device) -> Iterator[None]:
    """Restore the state of torch's random generators after this context."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


@contextmanager
def plain_attention() -> Iterator[None]:
    """Within this context attention uses operations that have a forward-mode derivative.

    Torch's own context, `sdpa_kernel`, takes as long as a pass through a small network.
    """
    before = [enabled() for enabled, _ in FAST_ATTENTION]
    try:
        for _, enable in FAST_ATTENTION:
            enable(False)
        yield
    finally:
        for (_, enable), value in zip(FAST_ATTENTION, before, strict=True):
            enable(value)


def outputs_of(network: nn.Module, tensors: dict[str, Tensor], x: Inputs) -> Tensor:
    """Return a network's outputs (n, …) in evaluation mode.

    Args:
        network: its other parameters are used as they are; its other buffers are copied.
        tensors: replacements, by the names of the parameters and buffers they replace.
        x: samples: a tensor, several (a tuple) or several by name (a mapping).

    Raises:
        SolverError: the network's output is neither a tensor nor a mapping with a tensor ``"logits"``, or does not
            have one row per sample.
    """
    # Copied in every pass: a buffer that a pass changes must be a tensor with a derivative of its own.
    buffers = {name: tensors.get(name, value).clone() for name, value in network.named_buffers()}
    x = mapped(torch.clone, x)  # a network may work in place, and the samples are the caller's
    arguments, named = ((), dict(x)) if isinstance(x, Mapping) else (x if isinstance(x, tuple) else (x,), {})
    with evaluation(network), plain_attention():
        output = functional_call(network, {**tensors, **buffers}, arguments, named)
    outputs, n = output["logits"] if isinstance(output, Mapping) and "logits" in output else output, length(x)
    if not isinstance(outputs, Tensor):
        raise SolverError(
            f"neural: the network's output is a {type(output).__name__}, neither logits nor a mapping with 'logits'; "
            "wrap it in a module that returns one tensor (n, classes)"
        )
    if not outputs.dim() or len(outputs) != n:
        raise SolverError(
            f"neural: the network's output has the shape {tuple(outputs.shape)} for {n} samples; supported are "
            "logits (n, classes), or one logit a sample for two classes: wrap it in a module that returns these"
        )
    return outputs


def logits_of(network: nn.Module, tensors: dict[str, Tensor], x: Inputs) -> Tensor:
    """Return a network's logits (n, classes) or (n, 1) in evaluation mode; arguments are those of `outputs_of`.

    Raises:
        SolverError: as for `outputs_of`, or the output is not a matrix.
    """
    logits = outputs_of(network, tensors, x)
    logits = logits[:, None] if logits.dim() == 1 else logits
    if logits.dim() != 2:
        raise SolverError(
            f"neural: the network's output has the shape {tuple(logits.shape)} for {length(x)} samples; supported are "
            "logits (n, classes), or one logit a sample for two classes: wrap it in a module that returns these, or "
            "pass a loss of such outputs"
        )
    return logits


def refuse_probabilities(network: nn.Module, x: Inputs, outputs: Tensor) -> None:
    """Refuse a network that returns probabilities instead of logits.

    Logits may happen to lie in [0, 1], but changing a parameter in one direction or the other moves them out.

    Raises:
        SolverError: the outputs stay in [0, 1] whichever parameter changes.
    """
    if not outputs.numel() or not within_unit_interval(outputs):
        return
    for name, value in reversed(list(network.named_parameters())):
        for sign in (-1, 1):
            if not within_unit_interval(logits_of(network, {name: sign * PUSH * (value.detach() + 1)}, x)):
                return
    raise SolverError("neural: the network returns probabilities; return logits (leave out the last Sigmoid/Softmax)")


def within_unit_interval(outputs: Tensor) -> bool:
    """Return whether all outputs that are not NaN lie in [0, 1], up to rounding."""
    return not ((outputs < -SLACK) | (outputs > 1 + SLACK)).any()


def trainable(network: nn.Module) -> dict[str, Tensor]:
    """Return the parameters that are not frozen, by name, detached; shared parameters appear once.

    Raises:
        SolverError: there is none, their types or devices differ, their type is too coarse, or one is not finite.
    """
    parameters = {name: value.detach() for name, value in network.named_parameters() if value.requires_grad}
    if not parameters:
        raise SolverError(
            "neural: the network has no trainable parameter; call requires_grad_(True) on those that were trained"
        )
    forms = {(value.dtype, value.device) for value in parameters.values()}
    if len(forms) > 1 or next(iter(forms))[0] not in PRECISIONS:
        types = ", ".join(sorted(f"{dtype} on {device}" for dtype, device in forms))
        raise SolverError(
            f"neural: the network's parameters are {types}; supported is one of torch.float32 and torch.float64 on one "
            "device: convert a copy, copy.deepcopy(network).float().to(device)"
        )
    for name, value in network.named_parameters():
        if not torch.isfinite(value).all():
            raise SolverError(f"neural: parameter {name} of the network is not finite: train it again")
    return parameters


def last_linear(network: nn.Module, x: Inputs) -> nn.Linear:
    """Return the linear layer that runs last when samples, on the network's device, pass through the network.

    Raises:
        SolverError: there is no such layer with a bias, or it is frozen, shares its parameters or runs more than once.
    """
    runs: list[tuple[str, nn.Linear]] = []
    hooks = [
        layer.register_forward_hook(lambda *_, entry=(name, layer): runs.append(entry))
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Linear)
    ]
    try:
        outputs_of(network, {}, x)
    finally:
        for hook in hooks:
            hook.remove()
    if not runs:
        raise SolverError("neural: the network has no last linear layer with a bias; use parameters: all")
    name, layer = runs[-1]
    refuse_head(network, name, len([entry for entry in runs if entry[1] is layer]))
    return layer


def refuse_head(network: nn.Module, name: str, runs: int = 1, remedy: str = "use parameters: all") -> None:
    """Refuse a network whose last linear layer cannot stand for it.

    Args:
        network: the network.
        name: of the layer.
        runs: how often it runs in a pass.
        remedy: what to do instead, in words that end with the parameters to use.

    Raises:
        SolverError: it has no bias, is frozen, shares its parameters or runs more than once.
    """
    layer = network.get_submodule(name)
    if layer.bias is None:
        raise SolverError(f"neural: the network has no last linear layer with a bias; {remedy}")
    if not (layer.weight.requires_grad and layer.bias.requires_grad):
        raise SolverError(
            f"neural: the last linear layer, {name}, is frozen; {remedy}, which counts trainable ones "
            "alone, or call requires_grad_(True) on it where it was trained"
        )
    uses = sum(
        value is layer.weight or value is layer.bias for _, value in network.named_parameters(remove_duplicate=False)
    )
    if runs > 1 or uses > 2:
        raise SolverError(f"neural: the last linear layer, {name}, runs or appears in several places; {remedy}")


def argument(arguments: tuple, named: dict) -> Tensor:
    """Return what a layer was called with, by position or by name."""
    return arguments[0] if arguments else next(iter(named.values()))


def as_samples(inputs: Any, to_tensors: Callable[[Any], Inputs], batch_size: int) -> Samples:
    """Return samples on which a network can be run, batch by batch.

    Args:
        inputs: an array of n samples, a tuple or mapping of arrays, or `Samples`, which are returned unchanged.
        to_tensors: turns the inputs of a batch into what the network takes.
        batch_size: samples at once.

    Raises:
        SolverError: the inputs are not arrays, or `to_tensors` does not return tensors.
    """
    if isinstance(inputs, Arrays | Batches):
        return inputs
    for array in leaves(inputs):
        if not hasattr(array, "__getitem__") or not hasattr(array, "__len__"):
            raise SolverError(f"neural: training inputs are a {type(array).__name__}; pass an array of all samples")
    return Arrays(inputs, lambda batch: _tensors(to_tensors, batch), batch_size)


def _tensors(to_tensors: Callable[[Any], Inputs], inputs: Any) -> Inputs:
    tensors = to_tensors(mapped(writeable, inputs))
    for tensor in leaves(tensors):
        if not isinstance(tensor, Tensor):
            raise SolverError(
                f"neural: the network's inputs are a {type(tensor).__name__}; supported are a tensor (n, …), a tuple "
                "of tensors, and a mapping of tensors by the names that the network takes them by"
            )
    return tensors


def writeable(array: Any) -> Any:
    """Return an array, copied if it is read-only: torch warns about read-only arrays."""
    return array.copy() if isinstance(array, np.ndarray) and not array.flags.writeable else array


def first_pass(network: nn.Module, run: Callable[[], Any]) -> Any:
    """Return the result of `run`, the first pass of samples through a network.

    Raises:
        SolverError: the pass fails; the message names the innermost layer in which it failed.
    """
    try:
        return run()
    except SolverError:
        raise
    except Exception as error:
        raise SolverError(_blame(network, run, error)) from error


def _blame(network: nn.Module, run: Callable[[], Any], error: Exception) -> str:
    """Run again, and return a message that names the failing layer."""
    running: list[str] = []
    hooks = []
    for name, layer in network.named_modules():
        label = f"layer {name or 'at the top'} ({type(layer).__name__})"
        hooks.append(layer.register_forward_pre_hook(lambda *_, label=label: running.append(label)))
        hooks.append(layer.register_forward_hook(lambda *_: running.pop() and None))
    try:
        run()
    except Exception:
        pass
    finally:
        for hook in hooks:
            hook.remove()
    where = running[-1] if running else "the loss"
    if isinstance(error, NotImplementedError) and "forward AD" in str(error):
        return (
            f"neural: {where} has no forward-mode derivative in torch; use parameters: last, or layers that have one "
            "(an Embedding and a mean for EmbeddingBag, GRU for LSTM)"
        )
    reason = (str(error).splitlines() or [""])[0]
    return f"neural: {where} fails on the training samples: {type(error).__name__}: {reason}; check what it is given"
