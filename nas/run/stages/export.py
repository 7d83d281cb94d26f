"""The export of a subnet of a run: verified, with everything that the run knows of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas.events.progress import working
from nas.export.bundle import export_bundle
from nas.objectives.evaluator import SupernetEvaluator
from nas.run.folder import RunFolder
from nas.run.provenance import provenance, recorded
from nas.run.tables import DeviceTable
from search_spaces.space.subnet import Subnet


def export_subnet(
    run: RunFolder,
    evaluator: SupernetEvaluator,
    subnet: Subnet,
    folder: Path,
    *,
    device: DeviceTable,
    n_measured: int,
    values: Mapping[str, float] | None = None,
    finetuned: int = 0,
    **options: Any,
) -> dict[str, Any]:
    """Export a subnet and return what `parity.json` holds.

    Args:
        run: The run.
        evaluator: Holds the supernet and the data, which verify the export.
        subnet: The subnet.
        folder: Must not exist, or be empty.
        device: The run's first device; the file is timed there, if it is here.
        n_measured: Networks that were measured.
        values: Of its metrics, where they are not those that the run recorded.
        finetuned: Epochs for which it was trained on by itself.
        options: See `export_bundle`.

    Raises:
        InvalidInput: If the folder is in the way.
        ParityFailed: If parity fails; nothing is written then.
    """
    table = device.read()
    known = recorded(run, subnet.space, subnet.id)
    with working(f"exporting {subnet.id} and proving parity"):
        return export_bundle(
            evaluator,
            subnet,
            folder,
            seed=run.experiment.seed,
            facts=known | {**(values or {}), "device": dict(table.fingerprint)},
            found=provenance(run.experiment, subnet.space, table, n_measured=n_measured, finetuned=finetuned),
            **options,
            time_file=device.time_file if device.times_files else None,
        )
