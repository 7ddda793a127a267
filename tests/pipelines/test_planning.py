"""What a job's first process, which may have less than its workers, does before they start."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from xaiserve.pipelines import explain
from xaiserve.pipelines.dataset import plan_job
from xaiserve.pipelines.explain import AsItIs


@pytest.mark.skipif(torch.cuda.device_count() > 0, reason="this machine has a GPU")
def test_a_machine_without_a_gpu_plans_for_workers_that_have_one(
    manifest: Path, model_folder: Path, tmp_path: Path
):
    config = explain.Config(
        images=str(manifest),
        out=str(tmp_path / "out"),
        model="toy",
        model_source=str(model_folder),
        methods=("occlusion",),
    )
    on_cpu = plan_job(config, AsItIs())
    on_gpu = plan_job(replace(config, device="cuda", precision="bf16"), AsItIs())

    assert on_gpu.model_digest == on_cpu.model_digest
    assert (on_gpu.config.device, on_gpu.config.precision) == ("cuda", "bf16")
