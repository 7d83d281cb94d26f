"""Contract tests over every registered backend; one that is not installed is skipped with its reason."""

import numpy as np
import pytest

from latency_tables.device import Device
from latency_tables.runtimes import RUNTIMES
from latency_tables.table.build import build_table
from latency_tables.table.plan import plan_table
from latency_tables.timing.protocol import Protocol
from nas.testing import check_runtime
from search_spaces import InvalidInputError, classes
from search_spaces.errors import NotReadyError


@pytest.fixture(params=list(RUNTIMES))
def name(request):
    try:
        RUNTIMES.get(request.param).version()
    except InvalidInputError as error:
        pytest.skip(str(error))
    return request.param


def test_it_keeps_the_contract(name, tiny_space):
    check_runtime(name, tiny_space)


def test_a_table_can_be_built(name, tiny_space):
    from search_spaces import Stage, mobilenet

    space = mobilenet(
        "least",
        input_shape=(1, 8, 8),
        outputs=classes(2),
        stem_width=8,
        stages=[Stage(depths=(1,), widths=(8,))],
        kernels=(3,),
        expand_ratios=(1,),
        formats=("float32", "w8a8"),
    )
    plan = plan_table(space, n_fit=2, n_held_out=2, rng=np.random.default_rng(0))
    table = build_table(plan, Device(backend=name), Protocol(rounds=2, seconds=1e-3, retry_budget=0))
    assert np.isfinite(table.predict_ms(space, space.sample(5, np.random.default_rng(0)))).all()
    assert table.fingerprint["backend"] == name


def test_a_runtime_that_is_missing_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    with pytest.raises(NotReadyError, match=r"OpenVINO is not installed; install it with `pip install 'hwnas\[openvino\]'`"):
        RUNTIMES.get("openvino").version()
    monkeypatch.setitem(__import__("sys").modules, "tvm", None)
    with pytest.raises(NotReadyError, match=r"TVM is not installed; install it with `pip install 'hwnas\[tvm\]'`"):
        RUNTIMES.get("tvm").version()
    monkeypatch.setenv("HWNAS_WEB", "/nowhere")
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(NotReadyError, match="Node is not installed; install Node 20 or newer"):
        type(RUNTIMES.get("onnxruntime-web"))().version()
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    with pytest.raises(NotReadyError, match="onnxruntime-web is not installed; copy .* and run `npm ci` there"):
        type(RUNTIMES.get("onnxruntime-web"))().version()
