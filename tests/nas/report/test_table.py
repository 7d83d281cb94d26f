import pandas as pd

from nas.report.table import gains

PREDICTED = {"latency_ms": "latency_ms_predicted"}


def test_gains_on_every_uniform_network_are_told():
    front = pd.DataFrame(
        {"id": ["a", "b", "c"], "error_val": [2.0, 3.0, 5.0], "latency_ms": [4.0, 2.0, 1.0], "size_bytes": [40, 10, 5]}
    )
    baselines = pd.DataFrame(
        {
            "baseline": ["float32 smallest", "float32 largest", "w8a8 smallest", "w8a8 largest", "w4a4 largest"],
            "error_val": [9.0, 2.0, 4.0, 3.5, 1.0],
            "latency_ms": [1.0, 8.0, 3.0, 3.0, 1.0],
            "size_bytes": [10, 80, 20, 20, 1],
        }
    )
    assert gains(front, baselines) == [
        "a: 2.00x as fast as 'float32 largest' at no more error, 0.50 of its size",
        "b: 1.50x as fast as 'w8a8 smallest' at no more error, 0.50 of its size",
        "b: 1.50x as fast as 'w8a8 largest' at no more error, 0.50 of its size",
        "no network of the front is faster at no more error than 'float32 smallest', 'w4a4 largest'",
    ]
    assert gains(front.iloc[:1], baselines) == [
        "a: 2.00x as fast as 'float32 largest' at no more error, 0.50 of its size",
        "a: no faster, or with more error, than 'float32 smallest', 'w8a8 smallest', 'w8a8 largest', 'w4a4 largest'",
    ]
    predicted = gains(front.rename(columns=PREDICTED), baselines.rename(columns=PREDICTED))
    assert predicted[0] == "a: 2.00x as fast as 'float32 largest' by predicted latency at no more error, 0.50 of its size"
