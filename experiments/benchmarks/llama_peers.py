r"""llama.cpp and onnxruntime-genai beside hwnas: the same model in their formats, how fast one thread writes, how many bits.

    python experiments/benchmarks/llama_peers.py convert MODEL.gguf FOLDER Q8_0 Q4_0
    python experiments/benchmarks/llama_peers.py transformers MODEL.gguf FOLDER/hf
    python -m onnxruntime_genai.models.builder -i FOLDER/hf -o FOLDER/int4 -p int4 -e cpu \
        --extra_options int4_accuracy_level=4 int4_block_size=32
    python experiments/benchmarks/llama_peers.py speed FOLDER/Q8_0.gguf FOLDER/int4 EXPORTED --repeats 5
    python experiments/benchmarks/llama_peers.py bits RUN FOLDER/Q8_0.gguf

`convert` needs the package gguf; `transformers` that package and torch; `speed` xllamacpp, onnxruntime-genai or, of a folder
that hwnas exported, onnxruntime: in an environment of their own. `bits` takes the weights of a gguf file as they are and
computes in float32 (llama.cpp rounds activations to 8 bits besides), and a file of onnxruntime-genai as it is.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from nas.run.run import Run

PROMPT = "The quick brown fox jumps over the lazy dog and runs away from forty two cats. " * 12
WRITTEN, BEFORE = 64, 200  # tokens; the prompt is about as long


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


def transformers(options: argparse.Namespace) -> None:
    """Write the folder of transformers that onnxruntime-genai reads."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

    where = {"pretrained_model_name_or_path": str(Path(options.model).parent), "gguf_file": Path(options.model).name}
    read = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    del read.config.quantization_config
    plain = LlamaForCausalLM(read.config)
    plain.load_state_dict({name: tensor.float().clone() for name, tensor in read.state_dict().items()})
    plain.tie_weights()
    plain.save_pretrained(options.folder)
    AutoTokenizer.from_pretrained(**where).save_pretrained(options.folder)


def speed(options: argparse.Namespace) -> None:
    """Print milliseconds a token behind about 200 others, of all models in turn."""
    found: dict[str, list[float]] = {model: [] for model in options.models}
    writers = {model: _writer(Path(model), options.threads) for model in options.models}
    for i in range(options.repeats + 1):
        for model, write in writers.items():
            ms = write(i)
            if i:  # the first time warms up
                found[model].append(ms)
    for model, times in found.items():
        print(f"{Path(model).name}: {np.median(times):.2f} ms a token ({min(times):.2f} to {max(times):.2f})")


def _writer(model: Path, threads: int) -> Callable[[int], float]:
    """Return what writes 64 tokens behind a prompt and returns milliseconds a token."""
    if not model.is_dir():
        return _llama_cpp(model, threads)
    return _genai(model, threads) if (model / "genai_config.json").exists() else _hwnas(model, threads)


def _llama_cpp(model: Path, threads: int) -> Callable[[int], float]:
    import xllamacpp

    settings = xllamacpp.CommonParams()
    settings.model.path, settings.n_ctx, settings.n_parallel, settings.n_gpu_layers = str(model), 512, 1, 0
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = threads
    server = xllamacpp.Server(settings)

    def write(i: int) -> float:
        asked = {
            "prompt": f"{i} {PROMPT}",
            "n_predict": WRITTEN,
            "temperature": 0,
            "ignore_eos": True,
            "cache_prompt": False,
        }
        answer = server.handle_completions(asked)
        return float((answer if isinstance(answer, dict) else json.loads(answer))["timings"]["predicted_per_token_ms"])

    return write


def _genai(folder: Path, threads: int) -> Callable[[int], float]:
    import onnxruntime_genai

    config = onnxruntime_genai.Config(str(folder))
    config.overlay(json.dumps({"model": {"decoder": {"session_options": {"intra_op_num_threads": threads}}}}))
    model = onnxruntime_genai.Model(config)
    tokenizer = onnxruntime_genai.Tokenizer(model)

    def write(i: int) -> float:
        tokens = tokenizer.encode(f"{i} {PROMPT}")
        parameters = onnxruntime_genai.GeneratorParams(model)
        parameters.set_search_options(max_length=512, min_length=512, do_sample=False)
        generator = onnxruntime_genai.Generator(model, parameters)
        generator.append_tokens(tokens)
        generator.generate_next_token()
        started = time.perf_counter()
        for _ in range(WRITTEN):
            generator.generate_next_token()
        return 1e3 * (time.perf_counter() - started) / WRITTEN

    return write


def _hwnas(folder: Path, threads: int) -> Callable[[int], float]:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(folder / "model.onnx", settings, providers=["CPUExecutionProvider"])
    context = json.loads((folder / "subnet.json").read_text())["context"]
    cache = {}
    for taken in session.get_inputs():
        if f"{taken.name}/present" in {given.name for given in session.get_outputs()}:
            kind = np.int8 if taken.type == "tensor(int8)" else np.float32
            nothing = np.zeros([1, taken.shape[1], context, taken.shape[3]], kind)
            cache[taken.name] = onnxruntime.OrtValue.ortvalue_from_numpy(nothing)

    def feed(tokens: NDArray[np.int64], n_before: int) -> int:
        binding, total = session.io_binding(), n_before + len(tokens)
        binding.bind_cpu_input("tokens", tokens[None])
        binding.bind_cpu_input("seqlens_k", np.array([total - 1], np.int32))
        binding.bind_cpu_input("total_sequence_length", np.array([total], np.int32))
        binding.bind_output("logits")
        for name, value in cache.items():
            binding.bind_ortvalue_input(name, value)
            binding.bind_ortvalue_output(f"{name}/present", value)
        session.run_with_iobinding(binding)
        return int(binding.get_outputs()[0].numpy().argmax())

    def write(i: int) -> float:
        prompt = np.random.default_rng(i).integers(0, 256, min(BEFORE, context - WRITTEN - 1))
        token = feed(prompt, 0)
        started = time.perf_counter()
        for j in range(WRITTEN):
            token = feed(np.array([token]), len(prompt) + j)
        return 1e3 * (time.perf_counter() - started) / WRITTEN

    return write


def bits(options: argparse.Namespace) -> None:
    """Print the bits a byte that the weights of a file take on the windows of a run."""
    import nas
    from nas.objectives.supernet_evaluator import SupernetEvaluator
    from nas.pretrained.llama import read_llama
    from nas.pretrained.supernet import load_weights
    from nas.supernet.supernet import Supernet
    from nas.supernet.threads import torch_threads
    from search_spaces.space.baselines import uniform_genome

    run, model = nas.open_run(options.run), Path(options.model)
    if model.is_dir():
        _bits_of_genai(run, model, options.threads)
        return
    with torch_threads(options.threads):
        supernet = Supernet(run.space)
        load_weights(supernet, read_llama(model).weights)
        largest = [run.space.subnet(uniform_genome(run.space, "largest", "float32"))]
        evaluator = SupernetEvaluator(supernet, run.task, run.data)
        for split in ("val", "test"):
            found = evaluator.evaluate(largest, split)["bits_per_byte"][0]
            print(f"{model.stem}: {found:.4f} bits a byte, {split}")


def _bits_of_genai(run: "Run", folder: Path, threads: int) -> None:
    """Print the bits a byte of a file of onnxruntime-genai, a window at once."""
    import onnxruntime

    from nas.tasks.task import values_of

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(folder / "model.onnx", settings, providers=["CPUExecutionProvider"])
    sizes = json.loads((folder / "genai_config.json").read_text())["model"]["decoder"]
    none = np.zeros([1, sizes["num_key_value_heads"], 0, sizes["head_size"]], np.float32)
    nothing = {taken.name: none for taken in session.get_inputs() if taken.name.startswith("past_key_values")}
    for split in ("val", "test"):
        scores = []
        for batch in run.data.batches(split, 1):
            tokens = np.asarray(batch["tokens"])
            feeds = {"input_ids": tokens, "attention_mask": np.ones_like(tokens), **nothing}
            scores.append(run.task.scores(session.run(["logits"], feeds)[0], batch))
        print(f"{folder.name}: {values_of(run.task, scores)['bits_per_byte']:.4f} bits a byte, {split}")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    verb = verbs.add_parser("convert")
    verb.add_argument("model")
    verb.add_argument("folder")
    verb.add_argument("types", nargs="+")
    verb.set_defaults(do=convert)
    verb = verbs.add_parser("transformers")
    verb.add_argument("model")
    verb.add_argument("folder")
    verb.set_defaults(do=transformers)
    verb = verbs.add_parser("speed")
    verb.add_argument("models", nargs="+")
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
