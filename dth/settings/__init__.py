"""Settings: declared once, spelt four ways (flag, environment, job file in our names or the guide's)."""

from dth.settings.fields import Setting
from dth.settings.identity import (
    contradicted,
    dest_location,
    from_run_settings,
    job_id,
    mapping,
    on_one_machine,
    reached_as,
    remapped,
    run_settings_json,
    source_location,
    sse_header,
)
from dth.settings.image import (
    IMAGE_NOT_YET,
    ImageJob,
    from_image_run_settings,
    image_contradicted,
    image_job_id,
    image_registries,
    image_run_settings_json,
    image_settings_json,
    noun_of,
)
from dth.settings.load import BUCKETS, load_image_settings, load_settings
from dth.settings.transfer import NOT_YET, JobBase, TransferJob, settings_of
from dth.settings.units import format_size, parse_size
from dth.settings.urls import S3Url, folder, parse_s3_url

__all__ = [
    "BUCKETS",
    "IMAGE_NOT_YET",
    "NOT_YET",
    "ImageJob",
    "JobBase",
    "S3Url",
    "Setting",
    "TransferJob",
    "contradicted",
    "dest_location",
    "folder",
    "format_size",
    "from_image_run_settings",
    "from_run_settings",
    "image_contradicted",
    "image_job_id",
    "image_registries",
    "image_run_settings_json",
    "image_settings_json",
    "job_id",
    "load_image_settings",
    "load_settings",
    "mapping",
    "noun_of",
    "on_one_machine",
    "parse_s3_url",
    "parse_size",
    "reached_as",
    "remapped",
    "run_settings_json",
    "settings_of",
    "source_location",
    "sse_header",
]
