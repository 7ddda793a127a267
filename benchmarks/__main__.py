"""Run one benchmark and print one JSON object about it."""

import argparse
import json
import platform
import shlex
import sys
from importlib import import_module
from pathlib import Path
from typing import Final

import torch

NAMES: Final = {
    "model-accuracy": "benchmarks.model_accuracy",
    "multirex-sufficient": "benchmarks.multirex_sufficient",
    "multirex-quality": "benchmarks.multirex_quality",
    "engine-efficiency-16": "benchmarks.engine_efficiency",
    "engine-ceiling": "benchmarks.engine_ceiling",
    "multirex-vs-rex": "benchmarks.multirex_vs_rex",
    "gpu": "benchmarks.gpu",
    "fan-out": "benchmarks.fan_out",
    "beside-bulk": "benchmarks.beside_bulk",
    "peak-memory": "benchmarks.peak_memory",
    "http-parity": "benchmarks.http_parity",
    "job-restart": "benchmarks.job_restart",
    "autoscale": "benchmarks.autoscale",
    "job-exactly-once": "benchmarks.job_exactly_once",
    "job-overhead": "benchmarks.job_overhead",
    "serve-throughput": "benchmarks.serve_throughput",
    "serve-explain": "benchmarks.serve_explain",
    "job-manifest": "benchmarks.job_manifest",
    "job-ray-data": "benchmarks.job_ray_data",
    "clear-oracle": "benchmarks.clear_oracle",
    "clear-overdetermination": "benchmarks.clear_overdetermination",
    "clear-cost": "benchmarks.clear_cost",
    "engine-efficiency-clear": "benchmarks.engine_efficiency_clear",
    "clear-vs-baselines": "benchmarks.clear_vs_baselines",
}


def main() -> int:
    """Run the named benchmark; exit status 1 when its bar does not hold."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--quick", action="store_true", help="end within 45 s on two cores")
    parser.add_argument("--json", action="store_true", help="one line, for programs")
    given = parser.parse_args()
    measured = import_module(NAMES[given.name]).run(given.quick)
    report = {
        "name": given.name,
        "device": device_name(),
        "command": shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]]),
        **measured,
    }
    print(json.dumps(report, indent=None if given.json else 2))
    return 0 if report["holds"] else 1


def device_name() -> str:
    """Say what the figures were measured on."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if about.is_file() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    return f"{name}, {torch.get_num_threads()} cores"


if __name__ == "__main__":
    sys.exit(main())
