import pytest

from latency_tables.timing.energy import EnergyMeter
from search_spaces.errors import MeasurementError


def counters(root, **packages):
    for i, (name, energy) in enumerate(packages.items()):
        zone = root / f"intel-rapl:{i}"
        zone.mkdir(parents=True)
        (zone / "name").write_text(f"{name.replace('_', '-')}\n")
        (zone / "energy_uj").write_text(f"{energy}\n")
        (zone / "max_energy_range_uj").write_text("1000000\n")
    return root


def test_the_energy_of_all_packages_is_added_up_and_counters_wrap(tmp_path):
    root = counters(tmp_path, package_0=100_000, package_1=990_000, dram=7)

    def work():
        (root / "intel-rapl:0" / "energy_uj").write_text("150000")
        (root / "intel-rapl:1" / "energy_uj").write_text("20000")
        (root / "intel-rapl:2" / "energy_uj").write_text("900000")

    assert EnergyMeter(root).millijoules(work) == pytest.approx(50 + 30)


def test_a_machine_without_counters_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(MeasurementError, match="energy cannot be measured here: this machine has no counters below"):
        EnergyMeter(tmp_path)
    root = counters(tmp_path / "broken", package_0="none")
    with pytest.raises(MeasurementError, match="energy cannot be measured here: invalid literal"):
        EnergyMeter(root)
