"""In a process of its own: importing torch's compiler warns, and a broken compiler is an environment variable."""

import os
import shutil
import subprocess
import sys

import pytest

COMPARE = """
import torch
from nas.quantizers.compiled import compiled_quantizer
from nas.quantizers.integers import choose_scale, fake_quantize
quantizer, chooser = compiled_quantizer()
assert quantizer is not fake_quantize
shapes = [(8, 16, 14, 14), (3, 5, 7, 7), (16, 16, 1, 1), (2, 1, 28, 28), (64, 10)]
for shape in shapes:
    for low, high in ((0, 255), (-8, 7), (0, 3)):
        for last in (False, True):
            results = []
            for f in (quantizer, fake_quantize):
                torch.manual_seed(0)
                x = torch.randn(shape)
                x = x.contiguous(memory_format=torch.channels_last) if last and x.ndim == 4 else x
                x.requires_grad_()
                scale = torch.tensor(0.11, requires_grad=True)
                y = f(x, scale, low, high)
                (y * torch.randn(shape)).sum().backward()
                results.append((y.detach(), x.grad, scale.grad))
            (y, gx, gs), (y2, gx2, gs2) = results
            assert torch.equal(y, y2)
            assert torch.allclose(gx, gx2, rtol=1e-6)
            assert torch.allclose(gs, gs2, rtol=1e-3, atol=1e-3)
for shape in [(1, 9), (1, 4000), (16, 1), (16, 9), (512, 25), (40, 240), (8, 2)]:
    for high in (1, 3, 7, 31, 127):
        values = torch.randn(shape)
        assert torch.allclose(chooser(values, high), choose_scale(values, high), rtol=1e-6)
        assert torch.allclose(chooser(values[:, ::2], high), choose_scale(values[:, ::2], high), rtol=1e-6)
assert (chooser(torch.zeros(2, 9), 7) > 0).all()
"""


def run(program, **environment):
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, timeout=600)


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler g++")
def test_compiled_quantizer_equals_the_eager_one():
    ended = run(COMPARE)
    assert ended.returncode == 0, ended.stderr


def test_without_a_compiler_training_goes_on(tmp_path):
    program = """
from nas.quantizers.compiled import compiled_quantizer
from nas.quantizers.integers import choose_scale, fake_quantize
assert compiled_quantizer() == (fake_quantize, choose_scale)
"""
    ended = run(program, CXX="/nowhere/c++", TORCHINDUCTOR_CACHE_DIR=str(tmp_path))
    assert ended.returncode == 0, ended.stderr
    assert "the quantizer cannot be compiled, training is slower without" in " ".join(ended.stderr.split())
