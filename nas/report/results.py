"""What stages have found, in lines for people."""

from collections.abc import Mapping, Sequence

import pandas as pd

from nas.export.bench import Benchmark
from nas.export.folder import Exported
from nas.export.verification.language import comparison, summary
from nas.export.verification.verify import Verification
from nas.search.rounds import Round
from nas.tasks.metric import Metric


def exported_lines(exported: Exported, trained: str = "supernet") -> list[str]:
    """Return what was exported and how it was verified; `trained` is what its answers were compared with."""
    found = exported.verification
    if "equal_to_itself" in found:
        others = [f"{target}: {comparison(each)}" for target, each in found.get("targets", {}).items()]
        return [*others, f"{exported.folder}: {summary(found)}"]
    if "agreement" not in found:  # of a model that was trained elsewhere: it diverges from that as it was measured to
        samples = f"{found['reference_samples']} samples"
        return [f"{exported.folder}: {found['elements']} integers on {samples} equal the reference"]
    lines = [
        f"{target}: {each['agreement']:.2f} % of {each['samples']} answers equal the {trained}'s"
        for target, each in found["targets"].items()
    ]
    integers = f"{found['elements']} integers equal the reference" if found["elements"] else "all float32, no integers"
    agreement = f"{found['agreement']:.2f} % of {found['samples']} answers equal the {trained}'s"
    return [*lines, f"{exported.folder}: {integers}, {agreement}"]


def fine_tuned_lines(values: Mapping[str, float], metric: Metric) -> list[str]:
    """Return what fine-tuning gained; `values` as `FineTuned` has them, `metric` what the task measures first."""
    lines = []
    for split, name in (("val", "validation"), ("test", "test")):
        before, after = (values[f"{metric.name}_{split}{when}"] for when in ("_before", ""))
        lines.append(f"{name} {metric.title} {before:.{metric.digits}f} -> {metric.text(after)}")
    if not metric.is_better(values[f"{metric.name}_val"], values[f"{metric.name}_val_before"]):
        lines.append("fine-tuning gained nothing: `hwnas export` gives the network with the shared weights")
    return lines


def fine_tuned_front_lines(front: pd.DataFrame, metric: Metric, file: str) -> list[str]:
    """Return what fine-tuning gained, for each network of a front, and where the table is."""

    def change(row: pd.Series, column: str) -> str:
        return f"{row[f'{column}_before']:.{metric.digits}f} -> {row[column]:.{metric.digits}f}"

    lines = [
        f"{row['id']}: {metric.title} {change(row, f'{metric.name}_val')} in validation, "
        f"{change(row, f'{metric.name}_test')} in test {metric.unit}".rstrip()
        for _, row in front.iterrows()
    ]
    return [*lines, f"{file}: the front with both values"]


def verification_line(folder: str, found: Verification) -> str:
    """Return what was verified, and the metrics that were measured again."""
    values = [f"{name} {value}" for name, value in found.values.items()]
    compared = f"{found.operators} operators" if found.operators else f"{found.elements} integers"
    return ", ".join([f"{folder}: {compared}", f"{found.samples} samples", *values])


def benchmark_lines(found: Benchmark) -> Sequence[str]:
    """Return the latency of every phase and batch size, that of one sample beside what its export recorded."""
    lines, n_batches = [], len({each.batch for each in found.times})
    for each in found.times:
        called = (each.phase, f"batch {each.batch}" if n_batches > 1 or each.batch > 1 else "")
        line = (
            f"{found.folder}: {''.join(f'{word}, ' for word in called if word)}{each.ms:.4f} ms, "
            f"spread {100 * each.spread:.1f} %, median {each.median_ms:.4f} ms, "
            f"95th percentile {each.p95_ms:.4f} ms, on {found.device}, {found.cpu}"
        )
        if each.energy_mj is not None:
            line += f", {each.energy_mj:.4g} mJ a run of the whole processor"
        if each.recorded_ms is not None:
            change = 100 * (each.ms / each.recorded_ms - 1)
            line += f"; its export recorded {each.recorded_ms:.4f} ms, {change:+.1f} %"
        elif each.batch == 1:
            line += "; its export recorded none on this device"
        lines.append(line)
    return lines


def round_lines(rounds: Sequence[Round], asked: int, folder: str) -> list[str]:
    """Return what rounds around the front cost and gained, what they left out, and what can be done next.

    Args:
        rounds: Those that are done.
        asked: How many may be made.
        folder: The run folder.
    """
    lines = []
    for each in rounds:
        lines.append(round_line(each))
        if each.drops:
            names = ", ".join(name for name, _ in each.drops)
            lines.append(f"  trained {each.n_networks:,} networks, formats aside; dropped: {names}")
        if each.lost:
            lines.append(f"  networks of the front before it that are no longer there: {', '.join(each.lost)}")
        if each.gone:
            lines.append(f"  uniform networks that are no longer there: {', '.join(each.gone)}")
    if rounds and not rounds[-1].pays:
        lines.append(f"other settings may be tried in a copy: `hwnas specialise {folder} --to COPY --set KEY=VALUE`")
    if rounds and rounds[-1].pays and len(rounds) >= asked:
        lines.append(f"the last round paid; one more: `hwnas specialise {folder} --rounds {len(rounds) + 1}`")
    return lines


def round_line(each: Round) -> str:
    """Return what a round cost and gained."""
    verdict = "kept" if each.pays else "not kept: what was before it stays in force"
    gain = f"the front's hypervolume {100 * each.gain:+.1f} %" if each.before else "nothing before it kept the limits"
    return (
        f"round {each.number}: {each.training_minutes:.1f} minutes of training, {each.search_minutes:.1f} of search, "
        f"{gain}; {verdict}"
    )
