"""What the fuzzer must not do to itself, and what it would otherwise take for a failure.

Schemathesis loads this file in its own process (``schemathesis.toml``).
"""

import os
import uuid
from typing import Any

import schemathesis

OWN_KEY_ID = os.environ["FORMFLOW_FUZZ_KEY_ID"]
NOBODY = "http://127.0.0.1:2/hook?chat_id=1"


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Spares the key that the fuzzer calls with, keeps webhooks on this machine, and makes
    idempotency keys differ: a repeated one would be answered with what an earlier call, of another
    case, has made and others deleted."""
    parameters = case.path_parameters or {}
    if parameters.get("key_id") == OWN_KEY_ID and case.method != "GET":
        case.path_parameters["key_id"] = "key_" + "0" * 26
    if isinstance(case.body, dict) and "://" in str(case.body.get("url")):
        case.body["url"] = NOBODY
    headers = case.headers or {}
    for name in [name for name in headers if name.lower() == "idempotency-key"]:
        if isinstance(headers[name], str) and 0 < len(headers[name]) <= 200:
            headers[name] = f"{headers[name]}{uuid.uuid4()}"
