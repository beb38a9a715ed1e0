"""Tests of request signatures against AWS's published test suite and botocore, and of the time that signing takes."""

from datetime import UTC, datetime
from time import perf_counter
from unittest import mock
from urllib.parse import quote

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from nulpoint.providers.sigv4 import AwsKeys, AwsSigner

KEYS = AwsKeys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
TOKEN = (
    "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUu"
    "wthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHN"
    "VXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA=="
)
NOW = datetime(2015, 8, 30, 12, 36, tzinfo=UTC).timestamp()
FORM = {"content-type": "application/x-www-form-urlencoded"}
VECTORS = [
    ("get-vanilla", "GET", "/", {}, b"", None, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    ("get-utf8", "GET", "/\u1234", {}, b"", None, "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"),
    ("get-space", "GET", "/example space/", {}, b"", None,
     "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741"),
    ("get-header-value-trim", "GET", "/", {"my-header1": " value1", "my-header2": ' "a   b   c"'}, b"", None,
     "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"),
    ("post-vanilla", "POST", "/", {}, b"", None, "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    ("post-header-key-sort", "POST", "/", {"my-header1": "value1"}, b"", None,
     "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c"),
    ("post-x-www-form-urlencoded", "POST", "/", FORM, b"Param1=value1", None,
     "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"),
    ("post-sts-header-before", "POST", "/", {}, b"", TOKEN,
     "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead"),
]  # fmt: skip
MODELS = [
    "anthropic.claude-3-5-sonnet-20241022-v2:0",
    "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2c3d4e5f6",
    "amazon.titan-embed-text-v2:0",
]


@pytest.mark.parametrize(("method", "path", "fields", "body", "token", "signature"), [one[1:] for one in VECTORS],
                         ids=[one[0] for one in VECTORS])  # fmt: skip
def test_published_vectors(method, path, fields, body, token, signature):
    keys = KEYS._replace(session_token=token)
    signer = AwsSigner(keys, "us-east-1", "service")
    added = signer.sign(method, path, {"host": "example.amazonaws.com", **fields}, body, NOW)
    names = ";".join(sorted({"host", "x-amz-date", *fields, *(["x-amz-security-token"] if token else [])}))
    assert added["authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        f"SignedHeaders={names}, Signature={signature}"
    )
    assert added["x-amz-date"] == "20150830T123600Z"
    assert added.get("x-amz-security-token") == token


def by_botocore(path, body, token, region, when):
    request = AWSRequest("POST", f"https://host.example{path}", {"content-type": "application/json"}, body)
    credentials = Credentials(KEYS.access_key, KEYS.secret_key, token)
    with mock.patch.object(botocore.auth, "get_current_datetime", return_value=when):
        botocore.auth.SigV4Auth(credentials, "bedrock", region).add_auth(request)
    return {name.lower(): value for name, value in request.headers.items() if name != "content-type"}


def as_fields(signer, path, body, when):
    """Return the headers as they are sent."""
    fields = signer.headers("POST", "host.example", path, body, when.replace(tzinfo=UTC).timestamp() + 0.9)
    return dict(line.split(": ", 1) for line in fields.decode("ascii").removesuffix("\r\n").split("\r\n"))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("verb", ["converse", "converse-stream", "invoke"])
@pytest.mark.parametrize("token", [None, "a/session+token=="])
def test_botocore_signs_the_same(model, verb, token):
    path = f"/model/{quote(model, safe='')}/{verb}"
    signer = AwsSigner(KEYS._replace(session_token=token), "eu-west-1", "bedrock")
    for when in (datetime(2026, 2, 28, 23, 59, 59), datetime(2026, 3, 1)):  # the signing key changes every day
        fields = {"host": "host.example", "content-type": "application/json"}
        ours = signer.sign("POST", path, fields, b'{"a":1}', when.replace(tzinfo=UTC).timestamp())
        assert (
            ours == by_botocore(path, b'{"a":1}', token, "eu-west-1", when) == as_fields(signer, path, b'{"a":1}', when)
        )


@given(st.text("abz019.:_-~/ %+é", min_size=1, max_size=40), st.binary(max_size=50), st.datetimes(
    datetime(2015, 1, 1), datetime(2099, 1, 1)))  # fmt: skip
def test_botocore_signs_any_model_the_same(model, body, when):
    path = f"/model/x{quote(model, safe='')}/converse"
    signer = AwsSigner(KEYS, "us-east-1", "bedrock")
    fields = {"host": "host.example", "content-type": "application/json"}
    when = when.replace(microsecond=0)
    ours = signer.sign("POST", path, fields, body, when.replace(tzinfo=UTC).timestamp())
    assert ours == by_botocore(path, body, None, "us-east-1", when) == as_fields(signer, path, body, when)


def test_a_signature_takes_less_than_60_microseconds():
    signer = AwsSigner(KEYS, "us-east-1", "bedrock")
    host, body = "bedrock-runtime.us-east-1.amazonaws.com", b"x" * 2048
    signer.headers("POST", host, "/model/m/converse", body, NOW)
    best = 1.0
    for _ in range(20):
        started = perf_counter()
        for number in range(50):
            signer.headers("POST", host, "/model/m/converse", body, NOW + number)
        best = min(best, (perf_counter() - started) / 50)
    print(f"{best * 1e6:.1f} us")
    assert best < 60e-6


def test_no_secret_is_printed():
    signer = AwsSigner(KEYS, "us-east-1", "bedrock")
    secret = KEYS.secret_key
    assert secret not in repr(KEYS)
    assert secret not in repr(signer)
    assert secret not in f"{KEYS}{KEYS!s}"
    assert secret not in str(signer.sign("POST", "/", {"host": "h"}, b"", NOW))
