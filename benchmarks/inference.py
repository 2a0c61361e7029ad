"""Predicting with a trained network, one row and many, beside ONNX Runtime and PyTorch where installed.

    python benchmarks/inference.py [--threads 2]

The same weights give the same probabilities in all. One row is the median of many calls; many rows are the
best of three passes; all take turns. Packages that are missing are left out, and said so.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
from machine import machine_line

from chalkgrad.train.network import Network

SIZES = {
    "A": ((64, 100, 10), 1_000_000),
    "B": ((784, 256, 128, 10), 100_000),
    "C": ((784, 1024, 1024, 10), 20_000),
    "D": ((3072, 2048, 2048, 10), 4_096),
}
"""Units per layer, and how many rows "many" are."""

CALLS = 3000
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
Predict = Callable[[Any], Any]


def onnx_session(network: Network) -> Predict:
    """The same network as an ONNX graph, run by ONNX Runtime."""
    import onnxruntime
    from onnx import TensorProto, checker, helper, numpy_helper

    nodes, weights, value = [], [], "x"
    for layer in range(1, network.layers + 1):
        for name in (f"W{layer}", f"b{layer}"):
            weights.append(numpy_helper.from_array(network.params[name].copy(), name))
        nodes.append(helper.make_node("Gemm", [value, f"W{layer}", f"b{layer}"], [f"f{layer}"]))
        value = f"f{layer}"
        if layer < network.layers:
            nodes.append(helper.make_node("Relu", [value], [f"a{layer}"]))
            value = f"a{layer}"
    nodes.append(helper.make_node("Softmax", [value], ["p"], axis=1))
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", units])
        for name, units in (("x", network.sizes[0]), ("p", network.sizes[-1]))
    ]
    graph = helper.make_graph(nodes, "network", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = int(os.environ[THREADS[0]]), 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda x: session.run(None, {"x": x})[0]


def torch_module(network: Network) -> Predict:
    """The same network as torch.nn modules, without gradients."""
    import torch

    torch.set_num_threads(int(os.environ[THREADS[0]]))
    layers: list[Any] = []
    for layer in range(1, network.layers + 1):
        w, b = network.params[f"W{layer}"], network.params[f"b{layer}"]
        linear = torch.nn.Linear(*w.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(w.T.copy()))
            linear.bias.copy_(torch.from_numpy(b.copy()))
        layers += [linear, torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1], torch.nn.Softmax(dim=1))

    def predict(x: Any) -> Any:
        with torch.inference_mode():
            return model(torch.from_numpy(x)).numpy()

    return predict


PEERS = {"ONNX Runtime": (("onnx", "onnxruntime"), onnx_session), "PyTorch": (("torch",), torch_module)}


def contenders(network: Network) -> dict[str, Predict]:
    """What is installed, by label."""
    found: dict[str, Predict] = {"chalkgrad": network.predict_proba}
    for label, (packages, make) in PEERS.items():
        missing = [p for p in packages if find_spec(p) is None]
        if missing:
            print(f"({label} is left out: {', '.join(missing)} not installed)")
        else:
            found[label] = make(network)
    return found


def one_row(all_of: dict[str, Predict], row: Any, calls: int) -> dict[str, float]:
    """Median microseconds of a call, in turns."""
    times: dict[str, list[float]] = {label: [] for label in all_of}
    for _ in range(calls):
        for label, predict in all_of.items():
            began = time.perf_counter()
            predict(row)
            times[label].append(time.perf_counter() - began)
    return {label: 1e6 * statistics.median(t) for label, t in times.items()}


def many_rows(all_of: dict[str, Predict], x: Any) -> dict[str, tuple[float, float]]:
    """Rows a second at best, and the megabytes that the process grew by while it predicted first."""
    best, grown = dict.fromkeys(all_of, np.inf), {}
    for _ in range(3):
        for label, predict in all_of.items():
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            began = time.perf_counter()
            predict(x)
            best[label] = min(best[label], time.perf_counter() - began)
            grown.setdefault(label, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
    return {label: (len(x) / seconds, grown[label]) for label, seconds in best.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Predicting, one row and many, beside others.")
    parser.add_argument("--threads", type=int, default=1)
    threads = str(parser.parse_args().threads)
    if any(os.environ.get(name) != threads for name in THREADS):  # libraries read these when they are loaded
        environment = {**os.environ, **dict.fromkeys(THREADS, threads)}
        os.execve(sys.executable, [sys.executable, *sys.argv], environment)
    print(machine_line(), f"· float32, {threads} thread(s)")
    for size, (units, rows) in SIZES.items():
        network = Network(units)
        all_of = contenders(network)
        x = np.random.default_rng(0).standard_normal((rows, units[0]), np.float32)
        expected = network.predict_proba(x[:64])
        for label, predict in all_of.items():
            np.testing.assert_allclose(predict(x[:64]), expected, rtol=1e-4, atol=1e-6, err_msg=label)
        calls = CALLS // (1 + network.flat.size // 200_000)
        single, many = one_row(all_of, x[:1], calls), many_rows(all_of, x)
        print(f"\n{size}: {'–'.join(map(str, units))}")
        print(f"| {'':14} | one row, µs | {rows:>9,} rows, million a second | memory on top, MB |")
        print(f"|{'-' * 16}|------------:|{'-' * 35}:|------------------:|")
        for label in all_of:
            rate, grown = many[label]
            print(f"| {label:14} | {single[label]:11.1f} | {rate / 1e6:34.4f} | {grown:17.0f} |")


if __name__ == "__main__":
    main()
