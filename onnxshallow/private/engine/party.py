"""A program run under SPU, a process a party, by the Python of the engine's environment; imports nothing of ours.

    python party.py FOLDER

FOLDER holds `order.json`, `arrays.npz` (weights and constants) and `feeds.npz` (the inputs of every run); the answer
goes to `answer.json` and `outputs.npz`. This process deals the shares and puts the outputs together, so it sees
everything: it measures, it keeps nothing secret. The parties are processes of their own, which talk over loopback,
through `wire.py` where a delay or a rate is asked for.
"""

import json
import multiprocessing
import os
import pickle
import re
import resource
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import spu.api
import spu.utils.frontend as frontend
from jax import lax
from spu import libspu

PROTOCOLS = {"semi2k": (2, "SEMI2K"), "aby3": (3, "ABY3"), "cheetah": (2, "CHEETAH")}
LINK = re.compile(r"Link details: total send bytes (\d+), recv bytes \d+, send actions (\d+), recv actions \d+")
PATIENCE = 3_600_000  # milliseconds that a party waits for another


def zero_of(x):
    """A zero that is as secret as `x`: a zero that all know would have to be made a share first, with a message."""
    one = lax.slice_in_dim(x.reshape(-1), 0, 1)[0]
    return one - one


def pad(x, pads, value=0.0, inner=None):
    """Values around every axis, and zeros between; pads may be negative."""
    config = [(low, high, gap) for (low, high), gap in zip(pads, inner or [0] * len(pads), strict=True)]
    if not any(any(each) for each in config):
        return x
    fill = zero_of(x)
    return lax.pad(x, fill + value if value else fill, config)


def patches(x, window, strides, dilations, pads):
    """The values under each tap of a window: a tensor of the output's shape a tap."""
    x = pad(x, [(0, 0), (0, 0), *pads])
    spans = [(n - d * (k - 1) - 1) // s for n, k, s, d in zip(x.shape[2:], window, strides, dilations, strict=True)]
    for tap in np.ndindex(*window):
        starts = [t * d for t, d in zip(tap, dilations, strict=True)]
        ends = [a + s * n + 1 for a, s, n in zip(starts, strides, spans, strict=True)]
        yield lax.slice(x, [0, 0, *starts], [*x.shape[:2], *ends], [1, 1, *strides])


def conv(x, w, strides, dilations, pads):
    """A convolution of x (N, C, H, W) with w (h, w, C, M), an order that saves SPU from moving weights."""
    x = jnp.transpose(pad(x, [(0, 0), (0, 0), *pads]), (0, 2, 3, 1))
    y = lax.conv_general_dilated(
        x, w, strides, "VALID", rhs_dilation=dilations, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return jnp.transpose(y, (0, 3, 1, 2))


def depthwise(x, w, window, strides, dilations, pads):
    """A convolution of each channel with its own taps, w (taps, 1, C, 1, 1), all taps in one multiplication."""
    return total(jnp.stack(list(patches(x, window, strides, dilations, pads)), 0) * w)


def total(parts):
    """The sum along the first axis, by halves; a sum of JAX's own begins with a zero that all know."""
    while parts.shape[0] > 1:
        half = parts.shape[0] // 2
        rest = parts[2 * half :]
        parts = parts[:half] + parts[half : 2 * half]
        parts = jnp.concatenate([parts, rest], 0) if rest.shape[0] else parts
    return parts[0]


def sum_axes(x, axes, keepdims):
    """The sum along some axes."""
    kept = [axis for axis in range(x.ndim) if axis not in axes]
    shape = [1 if axis in axes else size for axis, size in enumerate(x.shape)]
    y = total(jnp.transpose(x, [*axes, *kept]).reshape(-1, *[x.shape[axis] for axis in kept]))
    return y.reshape(shape) if keepdims else y


def contract(x, matrix, axis):
    """Along one axis, (size) becomes (size) @ matrix."""
    return jnp.moveaxis(jnp.moveaxis(x, axis, -1) @ matrix, -1, axis)


OPERATORS = {
    "conv": conv,
    "depthwise": depthwise,
    "matmul": lambda x, y: x @ y,
    "contract": contract,
    "relu": lambda x: jnp.maximum(x, 0.0),
    "floor": lambda x, value: jnp.maximum(x, value),
    "ceiling": lambda x, value: jnp.minimum(x, value),
    "maximum": jnp.maximum,
    "minimum": jnp.minimum,
    "max_pool": lambda x, window, strides, pads: lax.reduce_window(
        x, -jnp.inf, lax.max, (1, 1, *window), (1, 1, *strides), ((0, 0), (0, 0), *map(tuple, pads))
    ),
    "sum_pool": lambda x, window, strides, pads: total(
        jnp.stack(list(patches(x, window, strides, [1] * len(window), pads)), 0)
    ),
    "sum": sum_axes,
    "multiply": lambda x, y: x * y,
    "divide": lambda x, y: x / y,
    "add": lambda x, y: x + y,
    "subtract": lambda x, y: x - y,
    "scale": lambda x, number: x * number,
    "shift": lambda x, number: x + number,
    "negate": lambda x: -x,
    "reshape": lambda x, shape: x.reshape(shape),
    "transpose": lambda x, axes: jnp.transpose(x, axes),
    "broadcast": lambda x, shape: jnp.broadcast_to(x, shape),
    "concatenate": lambda *parts, axis: jnp.concatenate(parts, axis),
    "slice": lambda x, starts, ends, strides: lax.slice(x, starts, ends, strides),
    "reverse": lambda x, axes: lax.rev(x, axes),
    "take": lambda x, index, axis: x[(slice(None),) * axis + (np.asarray(index),)],
    "pad": pad,
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "exp": jnp.exp,
    "softmax": lambda x, axis: jax.nn.softmax(x, axis),
}


def network(order):
    """The program as a function of its weights and inputs, both lists of arrays by name."""

    def run(arrays, feeds):
        tensors = {**arrays, **feeds}
        for step in order["steps"]:
            read = [tensors[name] for name in step["inputs"]]
            tensors[step["output"]] = OPERATORS[step["op"]](*read, **step["settings"])
        return [tensors[name] for name in order["outputs"]]

    return run


def settings_of(order):
    """SPU's settings: a ring of 64 bits, its own number of fraction bits unless another is asked for."""
    kind = getattr(libspu.ProtocolKind, PROTOCOLS[order["protocol"]][1])
    config = libspu.RuntimeConfig(kind, libspu.FieldType.FM64, order["fraction_bits"])
    config.enable_pphlo_profile = True  # writes the link's statistics after each run
    return config


def compiled(order, arrays, feeds):
    """The executable, the names of its inputs, and whether each of them is secret."""
    flat, _ = jax.tree_util.tree_flatten((arrays, feeds))
    secret = [order["weights"] == "secret" and not name.startswith("public ") for name in sorted(arrays)]
    secret += [True] * len(feeds)
    visible = [libspu.Visibility.VIS_SECRET if each else libspu.Visibility.VIS_PUBLIC for each in secret]
    names = [f"in{i}" for i in range(len(flat))]
    executable, _ = frontend.compile(
        frontend.Kind.JAX, network(order), (arrays, feeds), {}, names, visible,
        lambda outputs: [f"out{i}" for i in range(len(outputs))], copts=libspu.CompilerOptions(),
    )  # fmt: skip
    return executable, names, visible


def log_to(path):
    """Send SPU's log to a file, made anew."""
    options = libspu.logging.LogOptions()
    options.enable_console_logger = False
    options.system_log_path = str(path)
    options.log_level = libspu.logging.LogLevel.INFO
    libspu.logging.setup_logging(options)


def party(rank, folder, addresses, answers):
    """One party: takes its shares, runs the executable for each set of inputs, hands back its shares and counts."""
    threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
    folder = Path(folder)
    order = json.loads((folder / "order.json").read_text())
    log = folder / f"{rank}.log"
    log_to(log)
    mine = pickle.loads((folder / f"{rank}.shares").read_bytes())
    executable = libspu.Executable()
    executable.ParseFromString(mine["executable"])
    link = libspu.link.Desc()
    link.recv_timeout_ms, link.connect_retry_times, link.connect_retry_interval_ms = PATIENCE, 240, 250
    for each, (own, seen) in enumerate(addresses):
        link.add_party(f"party {each}", own if each == rank else seen)
    context = libspu.link.create_brpc(link, rank)
    runtime = spu.api.Runtime(context, settings_of(order))
    hand(runtime, mine["weights"])
    runs = []
    for inputs in mine["feeds"]:
        hand(runtime, inputs)
        context.barrier()
        before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        runtime.run(executable)
        seconds = time.perf_counter() - start
        after = resource.getrusage(resource.RUSAGE_SELF)
        made = [runtime.get_var(name) for name in executable.output_names]
        runs.append({
            "seconds": seconds,
            "work": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
            "outputs": [(each.meta, each.share_chunks) for each in made],
        })  # fmt: skip
    time.sleep(0.2)  # the log is written by a thread
    counts = LINK.findall(log.read_text(errors="replace"))
    for run, (sent, messages) in zip(runs, counts, strict=True):
        run.update(sent=int(sent), messages=int(messages))
    answers.put((rank, runs))
    context.barrier()
    context.stop_link()


def end_with(parent):
    """End where the process that started this one has gone."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def hand(runtime, shares):
    """Give a party its shares, by name."""
    for name, (meta, chunks) in shares.items():
        runtime.set_var(name, share(meta, chunks))


def share(meta, chunks):
    """A share of SPU's."""
    made = libspu.Share()
    made.meta, made.share_chunks = meta, chunks
    return made


def free_ports(count):
    """Ports of loopback that nothing listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def main():
    """Deal, run, reveal."""
    folder = Path(sys.argv[1])
    order = json.loads((folder / "order.json").read_text())
    arrays = dict(np.load(folder / "arrays.npz"))
    stored = np.load(folder / "feeds.npz")
    feeds = [{name: stored[f"{run} {name}"] for name in order["inputs"]} for run in range(order["runs"])]
    count = PROTOCOLS[order["protocol"]][0]
    log_to(folder / "dealer.log")
    executable, names, visible = compiled(order, arrays, feeds[0])
    exchange = spu.api.Io(count, settings_of(order))

    def deal(tree, first):
        flat, _ = jax.tree_util.tree_flatten(tree)
        places = range(first, first + len(flat))
        return {
            names[i]: exchange.make_shares(np.asarray(value), visible[i])
            for i, value in zip(places, flat, strict=True)
        }

    weights = deal(arrays, 0)
    inputs = [deal(each, len(arrays)) for each in feeds]
    for rank in range(count):
        mine = {
            "executable": executable.SerializeToString(),
            "weights": {name: (each[rank].meta, each[rank].share_chunks) for name, each in weights.items()},
            "feeds": [
                {name: (each[rank].meta, each[rank].share_chunks) for name, each in run.items()} for run in inputs
            ],
        }
        (folder / f"{rank}.shares").write_bytes(pickle.dumps(mine))

    ports = free_ports(2 * count)
    own, seen = ports[:count], ports[count:] if order["link"] else ports[:count]
    addresses = [(f"127.0.0.1:{a}", f"127.0.0.1:{b}") for a, b in zip(own, seen, strict=True)]
    wires = []
    if order["link"]:
        command = [sys.executable, "-I", str(Path(__file__).with_name("wire.py"))]
        link = [str(order["link"]["rtt"] / 2), str(order["link"]["bandwidth"])]
        wires = [subprocess.Popen([*command, str(b), str(a), *link]) for a, b in zip(own, seen, strict=True)]
    answers = multiprocessing.Queue()
    parties = [
        multiprocessing.Process(target=party, args=(rank, str(folder), addresses, answers), daemon=True)
        for rank in range(count)
    ]
    try:
        for each in parties:
            each.start()
        found = {}
        while len(found) < count:
            if any(each.exitcode for each in parties):
                sys.exit(1)  # it has said why
            try:
                rank, runs = answers.get(timeout=1)
            except Exception:  # nothing yet
                continue
            found[rank] = runs
        for each in parties:
            each.join(10)
    finally:
        for each in (*parties, *wires):
            each.kill()
    outputs, told = {}, []
    for index in range(order["runs"]):
        runs = [found[rank][index] for rank in range(count)]
        for position, name in enumerate(order["outputs"]):
            parts = [share(*run["outputs"][position]) for run in runs]
            outputs[f"{index} {name}"] = exchange.reconstruct(parts)
        told.append([{key: run[key] for key in ("seconds", "work", "sent", "messages")} for run in runs])
    np.savez(folder / "outputs.npz", **outputs)
    (folder / "answer.json").write_text(json.dumps({"runs": told}))


if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    main()
