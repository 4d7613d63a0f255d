"""Keys of a store that AWS Secrets Manager holds, read with this process's own credentials.

A secret is a JSON object: `access_key_id` and `secret_access_key`, for temporary keys also `session_token` and `expiration`
(ISO 8601, with a zone). No error repeats what a secret holds.
"""

from __future__ import annotations

import json
import os
from datetime import datetime
from typing import Any

from dth.errors import BadCredentials, SettingsError
from dth.stores.sign import Credentials

MOST_SECRETS = 1000  # in a list for people
FORM = '{"access_key_id": "...", "secret_access_key": "..."}, and for temporary keys "session_token" and "expiration"'


def read_secret(name: str) -> Credentials:
    """The keys of the secret of that name or ARN; blocks. Raises BadCredentials where it cannot be read or holds something else,
    SettingsError where nobody says in which region it is."""
    import botocore.exceptions  # noqa: PLC0415 - costly, and needed only here
    import botocore.session  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415

    region = name.split(":")[3] if name.startswith("arn:") else None
    session = botocore.session.Session()
    try:
        client = session.create_client(
            "secretsmanager",
            region_name=region or os.environ.get("AWS_REGION"),
            config=Config(retries={"mode": "standard", "max_attempts": 5}),
        )
        try:
            answer = client.get_secret_value(SecretId=name)
        finally:
            client.close()
    except botocore.exceptions.NoRegionError as exc:
        raise SettingsError(f"the secret {name!r}: set AWS_REGION, or give the secret's ARN") from exc
    except botocore.exceptions.ClientError as exc:
        code = str(exc.response.get("Error", {}).get("Code", ""))
        raise BadCredentials(f"the secret {name!r} could not be read: {code}; {_advice(code)}") from exc
    except botocore.exceptions.BotoCoreError as exc:
        raise BadCredentials(f"the secret {name!r} could not be read: {type(exc).__name__}") from exc
    return parse_secret(answer.get("SecretString"), name)


def list_secrets() -> list[tuple[str, str]]:
    """Names and descriptions of the account's secrets; blocks. Raises BadCredentials where they cannot be listed, SettingsError where
    nobody says in which region they are."""
    import botocore.exceptions  # noqa: PLC0415 - costly, and needed only here
    import botocore.session  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415

    patience = Config(connect_timeout=3, read_timeout=10, retries={"mode": "standard", "max_attempts": 2})
    try:
        client = botocore.session.Session().create_client(
            "secretsmanager", region_name=os.environ.get("AWS_REGION"), config=patience
        )
        try:
            pages = client.get_paginator("list_secrets").paginate(PaginationConfig={"MaxItems": MOST_SECRETS})
            found = [
                (str(one["Name"]), str(one.get("Description", ""))) for page in pages for one in page["SecretList"]
            ]
        finally:
            client.close()
    except botocore.exceptions.NoRegionError as exc:
        raise SettingsError("secrets: set AWS_REGION") from exc
    except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError, KeyError) as exc:
        raise BadCredentials(
            f"secrets could not be listed: {type(exc).__name__}; allow secretsmanager:ListSecrets"
        ) from exc
    return sorted(found)


def _advice(code: str) -> str:
    if code == "ResourceNotFoundException":
        return "check the name, the account and the region"
    return "allow secretsmanager:GetSecretValue, and kms:Decrypt for a key of your own"


def parse_secret(text: Any, name: str) -> Credentials:
    """The keys that a secret's text holds."""
    try:
        fields = json.loads(text)
    except (TypeError, ValueError):
        raise _malformed(name, "is no JSON text") from None
    if not isinstance(fields, dict):
        raise _malformed(name, "is no JSON object")
    for needed in ("access_key_id", "secret_access_key"):
        if not _is_key(fields.get(needed)):
            raise _malformed(name, f"has no {needed}" if needed not in fields else f"has a {needed} that is no key")
    token, ends = fields.get("session_token") or None, fields.get("expiration") or None
    if token is not None and not _is_key(token):
        raise _malformed(name, "has a session_token that is no token")
    return Credentials(fields["access_key_id"], fields["secret_access_key"], token, _moment(ends, name))


def _is_key(value: Any) -> bool:
    """What can stand in a header and sign: printable ASCII without spaces."""
    return isinstance(value, str) and bool(value) and value.isascii() and value.isprintable() and " " not in value


def _moment(text: Any, name: str) -> float | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise _malformed(name, "has an expiration that is no time such as 2026-01-31T12:00:00Z") from None
    if moment.tzinfo is None:
        raise _malformed(name, "has an expiration without a time zone: end it with Z")
    return moment.timestamp()


def _malformed(name: str, what: str) -> BadCredentials:
    return BadCredentials(f"the secret {name!r} {what}; it must be a JSON object such as {FORM}")
