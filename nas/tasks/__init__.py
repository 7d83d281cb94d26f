"""Tasks: what goes into a network, what comes out, what is lost and what is scored. One file a task."""

from nas.tasks import classification, language, regression, segmentation, super_resolution  # noqa: F401  registers them
from nas.tasks.metric import METRICS, Metric, metric_of
from nas.tasks.task import TASKS, Task, phases_of

__all__ = ["METRICS", "TASKS", "Metric", "Task", "metric_of", "phases_of"]
