"""The export of a subnet of a run: verified, with everything that the run knows of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas.events.progress import working
from nas.export.bundle import export_bundle
from nas.export.folder import Exported
from nas.export.language import export_language_model
from nas.export.targets.targets import DEFAULT
from nas.objectives.supernet_evaluator import SupernetEvaluator
from nas.pretrained.llama import Chat
from nas.run.folder import RunFolder
from nas.run.provenance import provenance, recorded
from nas.run.tables import DeviceTable
from search_spaces.errors import InvalidInputError
from search_spaces.space.subnet import Subnet

WITHOUT = {
    "int4": "packs its weights anyway: leave out --int4",
    "dynamic_batch": "takes one text at a time: leave out --dynamic-batch",
}
"""What a language model is not exported with, and why."""


def export_subnet(
    run: RunFolder,
    evaluator: SupernetEvaluator,
    subnet: Subnet,
    folder: Path,
    *,
    device: DeviceTable | None,
    n_measured: int,
    values: Mapping[str, float] | None = None,
    finetuned: Mapping[str, float] | None = None,
    pretrained: Mapping[str, Any] | None = None,
    chat: Chat | None = None,
    **options: Any,
) -> Exported:
    """Export a subnet, verified.

    Args:
        run: The run.
        evaluator: Holds the supernet and the data, which verify the export.
        subnet: The subnet.
        folder: Must not exist, or be empty.
        device: The run's first device, if it has one; the file is timed there, if it is here.
        n_measured: Networks that were measured.
        values: Of its metrics, where they are not those that the run recorded.
        finetuned: See `provenance`.
        pretrained: See `export_language_model`.
        chat: See there.
        options: See `export_bundle`.

    Raises:
        InvalidInputError: If the folder is in the way.
        VerificationError: If parity fails; nothing is written then.
    """
    table = device.read() if device else None
    known = recorded(run, subnet.space, subnet.id)
    facts = known | {**(values or {}), **({"device": dict(table.fingerprint)} if table else {})}
    found = provenance(run, subnet.space, table, n_measured=n_measured, finetuned=finetuned)
    with working(f"exporting {subnet.id} and verifying it"):
        if subnet.space.phases:
            target = options.pop("target", DEFAULT)
            if given := [reason for name, reason in WITHOUT.items() if options.get(name)]:
                raise InvalidInputError(f"the file of a language model {'; it '.join(given)}")
            told = {"facts": facts, "found": found, "pretrained": pretrained, "chat": chat, "target": target}
            return export_language_model(evaluator, subnet, folder, seed=run.experiment.seed, **told)
        return export_bundle(
            evaluator,
            subnet,
            folder,
            seed=run.experiment.seed,
            facts=facts,
            found=found,
            **options,
            time_file=device.time_file if device and device.times_files else None,
        )
