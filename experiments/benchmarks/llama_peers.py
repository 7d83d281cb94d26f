"""llama.cpp beside hwnas: the same model in its formats, how fast one thread writes, and how many bits it takes.

    python experiments/benchmarks/llama_peers.py convert MODEL.gguf FOLDER Q8_0 Q4_0
    python experiments/benchmarks/llama_peers.py speed FOLDER/Q8_0.gguf --repeats 5
    python experiments/benchmarks/llama_peers.py bits RUN FOLDER/Q8_0.gguf

`convert` needs the package gguf, `speed` xllamacpp, in an environment of its own. `bits` takes the weights of a file as they
are and computes in float32: llama.cpp rounds activations to 8 bits besides.
"""

import argparse
import json
from pathlib import Path

import numpy as np

PROMPT = "The quick brown fox jumps over the lazy dog and runs away from forty two cats. " * 12
WRITTEN = 64  # tokens behind about 200


def convert(options: argparse.Namespace) -> None:
    """Write a file of every type asked for; norms stay float32."""
    import gguf

    reader = gguf.GGUFReader(options.model)
    for kind in options.types:
        wanted, to = gguf.GGMLQuantizationType[kind], Path(options.folder) / f"{kind}.gguf"
        writer = gguf.GGUFWriter(to, "llama")
        for name, field in reader.fields.items():
            if name.startswith("GGUF.") or name in ("general.architecture", "general.file_type"):
                continue
            if field.types[0] == gguf.GGUFValueType.ARRAY:
                writer.add_array(name, field.contents())
            else:
                writer.add_key_value(name, field.contents(), field.types[0])
        for tensor in reader.tensors:
            values = np.asarray(gguf.dequantize(tensor.data, tensor.tensor_type), np.float32)
            if values.ndim == 1 or kind == "F32":
                writer.add_tensor(tensor.name, values)
            else:
                writer.add_tensor(tensor.name, gguf.quantize(values, wanted), raw_dtype=wanted)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        print(f"{to}: {to.stat().st_size / 1e6:.1f} MB")


def speed(options: argparse.Namespace) -> None:
    """Print milliseconds a token behind about 200 others, and of the prompt."""
    import xllamacpp

    settings = xllamacpp.CommonParams()
    settings.model.path, settings.n_ctx, settings.n_parallel, settings.n_gpu_layers = options.model, 512, 1, 0
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = options.threads
    server = xllamacpp.Server(settings)
    tokens, prompts = [], []
    for i in range(options.repeats):
        asked = {
            "prompt": f"{i} {PROMPT}",
            "n_predict": WRITTEN,
            "temperature": 0,
            "ignore_eos": True,
            "cache_prompt": False,
        }
        answer = server.handle_completions(asked)
        timings = (answer if isinstance(answer, dict) else json.loads(answer))["timings"]
        tokens.append(timings["predicted_per_token_ms"])
        prompts.append(timings["prompt_per_token_ms"])
    for what, found in (("ms a token", tokens), ("ms a token of the prompt", prompts)):
        print(f"{Path(options.model).stem}: {np.median(found):.2f} {what} ({min(found):.2f} to {max(found):.2f})")


def bits(options: argparse.Namespace) -> None:
    """Print the bits a byte that the weights of a file take on the windows of a run."""
    import nas
    from nas.objectives.supernet_evaluator import SupernetEvaluator
    from nas.pretrained.llama import read_llama
    from nas.pretrained.supernet import load_weights
    from nas.run.trained import torch_threads
    from nas.supernet.supernet import Supernet
    from search_spaces.space.baselines import uniform_genome

    run = nas.open_run(options.run)
    with torch_threads(options.threads):
        supernet = Supernet(run.space)
        load_weights(supernet, read_llama(Path(options.model)).weights)
        largest = [run.space.subnet(uniform_genome(run.space, "largest", "float32"))]
        evaluator = SupernetEvaluator(supernet, run.task, run.data)
        for split in ("val", "test"):
            found = evaluator.evaluate(largest, split)["bits_per_byte"][0]
            print(f"{Path(options.model).stem}: {found:.4f} bits a byte, {split}")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    verb = verbs.add_parser("convert")
    verb.add_argument("model")
    verb.add_argument("folder")
    verb.add_argument("types", nargs="+")
    verb.set_defaults(do=convert)
    verb = verbs.add_parser("speed")
    verb.add_argument("model")
    verb.add_argument("--threads", type=int, default=1)
    verb.add_argument("--repeats", type=int, default=5)
    verb.set_defaults(do=speed)
    verb = verbs.add_parser("bits")
    verb.add_argument("run")
    verb.add_argument("model")
    verb.add_argument("--threads", type=int, default=1)
    verb.set_defaults(do=bits)
    options = parser.parse_args()
    options.do(options)


if __name__ == "__main__":
    main()
