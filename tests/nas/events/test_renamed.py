"""Names that were given up are read for one release, and each warning names the new one."""

from pathlib import Path

import pytest
import yaml

from nas.events.renamed import COLUMNS, KEYS, TENSORS, renamed_tensors, renamed_training
from nas.run.experiment import Experiment, device_from_yaml

OLD_KEYS = [(section, old, new) for section, table in KEYS.items() for old, new in table.items()]
VALUES = {
    "lower_bits": False,
    "shrink_after": 0.5,
    "start_from": "w",
    "shift_pixels": 3,
    "greatest_minutes": 4,
    "patience": 0.5,
}
BITSERIAL = Path(__file__).parents[3] / "experiments" / "devices" / "bitserial.yaml"


@pytest.mark.parametrize(("section", "old", "new"), OLD_KEYS)
def test_an_old_key_is_read_as_the_new_one(section, old, new, caplog):
    value = VALUES.get(old, True)
    rest = {"label": "board"} if section == "device" else {}
    found = Experiment.from_dict({"name": "e", section: {old: value, **rest}}, "e.yaml")
    message = caplog.text
    assert f"'e.yaml': {section}.{old} is called {new} now" in message
    caplog.clear()
    assert found == Experiment.from_dict({"name": "e", section: {new: value, **rest}}, "e.yaml")
    assert f"{old} is called" not in caplog.text
    settings = found.devices["board"] if section == "device" else getattr(found, section)
    assert getattr(settings, new) == value


def test_old_keys_are_read_wherever_devices_stand(tmp_path, caplog):
    more = [{"label": "board", "elsewhere": True}]
    found = Experiment.from_dict({"name": "e", "more_devices": more}, "e.yaml")
    assert found.devices["board"].remote
    assert list(found.devices) == ["onnxruntime-1t", "board"]
    (tmp_path / "d.yaml").write_text("{label: board, elsewhere: true}")
    assert device_from_yaml(tmp_path / "d.yaml").remote
    assert caplog.text.count("is called remote now") == 2


def test_old_objectives_are_read(caplog):
    bitserial = yaml.safe_load(BITSERIAL.read_text())
    old, new = (
        {
            "name": "e",
            "accelerator": bitserial,
            "search": {"objectives": ["error", ms, mj], "max": {ms: 2.0}, "min": {mj: 0.1}},
        }
        for ms, mj in zip(*COLUMNS.items(), strict=True)
    )
    assert Experiment.from_dict(old, "e.yaml") == Experiment.from_dict(new, "e.yaml")
    message = caplog.text
    for name, today in COLUMNS.items():
        assert message.count(f"{name} is called {today} now") == 2


def test_old_names_of_tensors_and_their_training_are_read():
    old = {name: i for i, name in enumerate(TENSORS)} | {"momentum:log_steps": 7, "shared.x/weight": 8}
    assert renamed_tensors(old) == {"log_scales": 0, "scale_is_set": 1, "momentum:log_scales": 7, "shared.x/weight": 8}
    facts = {"seed": 0, "training": {"lower_bits": True, "float_epochs": 2}}
    assert renamed_training(facts) == {"seed": 0, "training": {"progressive_bits": True, "float_epochs": 2}}
    assert renamed_training({"seed": 0}) == {"seed": 0}
