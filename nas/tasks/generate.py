"""The program of an exported language model, which needs onnxruntime and, unless tokens are bytes, tokenizers."""

GENERATE = '''\
"""Writes text: `python generate.py "PROMPT"`; with --check it writes the sample again that the exporting machine wrote."""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime

folder = Path(__file__).parent
subnet = json.loads((folder / "subnet.json").read_text())
if json.loads((folder / "tokenizer.json").read_text())["model"]["type"] == "bytes":
    encode = lambda text: list(text.encode())  # noqa: E731
    decode = lambda tokens: bytes(tokens).decode(errors="replace")  # noqa: E731
else:
    try:
        from tokenizers import Tokenizer
    except ImportError:
        sys.exit("this model needs tokenizers: pip install tokenizers")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    encode, decode = lambda text: tokenizer.encode(text).ids, tokenizer.decode  # noqa: E731
here, least = onnxruntime.__version__, subnet["onnx"]["min_onnxruntime"]
if [int(part) for part in here.split(".")[:2]] < [int(part) for part in least.split(".")[:2]]:
    sys.exit(f"this model needs onnxruntime {least}, here is {here}: pip install --upgrade onnxruntime")


class Model:
    """The file, and the keys and values of what it was given."""

    def __init__(self):
        settings = onnxruntime.SessionOptions()
        settings.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(folder / "model.onnx", settings, providers=["CPUExecutionProvider"])
        kept = {x.name.removesuffix("/present") for x in self.session.get_outputs() if x.name.endswith("/present")}
        self.cache = {}
        for x in self.session.get_inputs():
            if x.name in kept:
                kind = np.int8 if x.type == "tensor(int8)" else np.float32
                zeros = np.zeros([1, x.shape[1], subnet["context"], x.shape[3]], kind)
                self.cache[x.name] = onnxruntime.OrtValue.ortvalue_from_numpy(zeros)
        self.n = 0

    def feed(self, tokens):
        """Return the answers behind some more tokens, shape (vocabulary,)."""
        self.n += len(tokens)
        binding = self.session.io_binding()
        binding.bind_cpu_input("tokens", np.array([tokens], np.int64))
        binding.bind_cpu_input("seqlens_k", np.array([self.n - 1], np.int32))
        binding.bind_cpu_input("total_sequence_length", np.array([self.n], np.int32))
        binding.bind_output("logits")
        for name, value in self.cache.items():
            binding.bind_ortvalue_input(name, value)
            binding.bind_ortvalue_output(name + "/present", value)
        self.session.run_with_iobinding(binding)
        return binding.get_outputs()[0].numpy().reshape(-1)


def spoken(prompt):
    """Return a prompt as the model was trained to be spoken to."""
    path = folder / "chat_template.jinja"
    if not path.exists():
        sys.exit("this model was not trained to be spoken to: leave out --chat")
    try:
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError:
        sys.exit("--chat needs jinja2: pip install jinja2")
    jinja = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    jinja.globals |= {"raise_exception": sys.exit, "strftime_now": time.strftime}
    template = jinja.from_string(path.read_text(encoding="utf-8"))
    messages = [{"role": "user", "content": prompt}]
    return template.render(messages=messages, add_generation_prompt=True, **subnet["chat"])


def choose(answers, temperature, top_k, rng):
    """Return the next token: the likeliest, or one drawn among the likeliest."""
    if temperature <= 0:
        return int(answers.argmax())
    likely = np.argsort(answers)[-top_k:] if top_k else np.arange(len(answers))
    shares = np.exp((answers[likely] - answers[likely].max()) / max(temperature, 1e-6))
    return int(rng.choice(likely, p=shares / shares.sum()))


def main():
    """Write text behind a prompt."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("prompt", nargs="?", default="")
    parser.add_argument("--tokens", type=int, default=100, help="to write at most (default 100)")
    parser.add_argument("--temperature", type=float, default=0.8, help="0: always the likeliest (default 0.8)")
    parser.add_argument("--top-k", type=int, default=40, help="draw among so many; 0: all (default 40)")
    parser.add_argument("--stop", default="", help="text behind which to stop")
    parser.add_argument("--chat", action="store_true", help="answer what the prompt says, if the model can be spoken to")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--check", action="store_true", help="write the sample again")
    options = parser.parse_args()
    if not options.temperature >= 0 or options.top_k < 0 or options.tokens < 0 or (options.seed or 0) < 0:
        parser.error("--temperature, --top-k, --tokens and --seed must be 0 or more")
    sys.stdout.reconfigure(errors="replace")
    options.prompt = options.prompt.encode(errors="surrogateescape").decode(errors="replace")
    model, rng = Model(), np.random.default_rng(options.seed)
    if options.check:
        sample = np.load(folder / "samples.npz")
        options.tokens, options.temperature, given = len(sample["written"]), 0, sample["prompt"].tolist()
    else:
        given = encode(spoken(options.prompt)) if options.chat else [subnet["end"], *encode(options.prompt)]
    if len(given) >= subnet["context"]:
        sys.exit(f"the prompt has {len(given)} tokens; with what follows there is room for {subnet['context']}")
    turn_end = encode(subnet["chat"]["eos_token"]) if options.chat else []
    ends, written = {subnet["end"], *(turn_end if len(turn_end) == 1 else [])}, []
    while len(written) < options.tokens and model.n + len(given) <= subnet["context"]:
        given = [choose(model.feed(given), options.temperature, options.top_k, rng)]
        if given[0] in ends and not options.check:
            break
        written += given
        if options.stop and options.stop in decode(written):
            break
    print(decode(written) if options.chat else options.prompt + decode(written))
    if options.check and np.mean(np.array(written) == sample["written"]) < 0.5:
        sys.exit("the text differs from what the exporting machine wrote")


if __name__ == "__main__":
    main()
'''
