"""Checks AWS signatures strictly, with botocore's signer: independent of dth's."""

import datetime as dt
import hashlib
import hmac
from dataclasses import dataclass

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from .s3server import Account
from .wire import Answer, Request, error

_SKEW_SECONDS = 15 * 60


@dataclass(frozen=True, slots=True)
class Checker:
    """Knows one account and one region. `session_token` is asked for where it isn't ""."""

    account: Account
    region: str
    session_token: str = ""
    unsigned_payload: bool = True

    def refusal(self, request: Request) -> Answer | None:
        """Why the head of this request would be refused; None if its signature holds."""
        scheme, _, rest = request.headers.get("authorization", "").partition(" ")
        if scheme != "AWS4-HMAC-SHA256":
            return error(403, "AccessDenied", "not signed")
        fields = dict(item.strip().partition("=")[::2] for item in rest.split(","))
        return self._wrong_scope(request, fields) or self._wrong_signature(request, fields)

    def _wrong_scope(self, request: Request, fields: dict[str, str]) -> Answer | None:
        """Who, where and when."""
        key, day, region, service, _ = fields["Credential"].split("/")
        stamp = request.headers.get("x-amz-date", "")
        if key != self.account.access_key:
            return error(403, "InvalidAccessKeyId")
        if region != self.region or service != "s3":
            return error(400, "AuthorizationHeaderMalformed", f"region {region!r} is wrong; expecting {self.region!r}")
        if not stamp.startswith(day) or abs(_now() - _seconds(stamp)) > _SKEW_SECONDS:
            return error(403, "RequestTimeTooSkewed")
        wrong_token = request.headers.get("x-amz-security-token", "") != self.session_token
        return error(403, "InvalidToken") if wrong_token else None

    def _wrong_signature(self, request: Request, fields: dict[str, str]) -> Answer | None:
        """What was signed, and with what."""
        headers, signed = request.headers, fields["SignedHeaders"].split(";")
        forgotten = ({name for name in headers if name.startswith("x-amz-")} | {"host"}) - set(signed)
        if forgotten:
            return error(403, "AccessDenied", f"not signed: {', '.join(sorted(forgotten))}")
        if not self.unsigned_payload and headers.get("x-amz-content-sha256") == "UNSIGNED-PAYLOAD":
            return error(400, "InvalidArgument", "UNSIGNED-PAYLOAD is not taken here")
        right = self._signature(request, signed, headers["x-amz-date"])
        return None if hmac.compare_digest(right, fields["Signature"]) else error(403, "SignatureDoesNotMatch")

    def _signature(self, request: Request, signed: list[str], stamp: str) -> str:
        """What the signature should be. The query is taken in the encoding that came, which AWS would normalise."""
        auth = S3SigV4Auth(Credentials(self.account.access_key, self.account.secret_key), "s3", self.region)
        again = AWSRequest(
            method=request.method,
            url=f"http://{request.headers['host']}{request.target}",
            headers={name: request.headers.get(name, "") for name in signed},
        )
        again.context["timestamp"] = stamp
        text = auth.string_to_sign(again, auth.canonical_request(again))
        return str(auth.signature(text, again))

    @staticmethod
    def body_refusal(request: Request, body: bytes) -> Answer | None:
        """Whether the body is the one that was signed."""
        said = request.headers.get("x-amz-content-sha256", "")
        if said.startswith(("UNSIGNED", "STREAMING")) or said == hashlib.sha256(body).hexdigest():
            return None
        return error(400, "XAmzContentSHA256Mismatch")


def _now() -> float:
    return dt.datetime.now(dt.UTC).timestamp()


def _seconds(stamp: str) -> float:
    parsed = dt.datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
    return parsed.timestamp()
