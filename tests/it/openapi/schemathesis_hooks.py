"""What schemathesis cannot know of a gateway: who the agent is, and that guessing is slowed down."""

import itertools
import os
import re

import schemathesis

AGENT = os.environ["AGENT_ADDRESS"]
NUMBERS = itertools.count(1)
SPAN = re.compile(r"[0-9]+(ms|s|m|h|d)?")


@schemathesis.serializer("application/x-ndjson")
def lines(context, value):
    return str(value).encode()


@schemathesis.hook
def before_call(context, case, kwargs):
    number = next(NUMBERS)
    # Each request comes from an address of its own: who shows many wrong keys has to wait.
    case.headers["X-Forwarded-For"] = f"127.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    query = case.query or {}
    if SPAN.fullmatch(str(query.get("wait", ""))):
        query["wait"] = "0s"
    if not case.meta or not case.meta.generation.mode.is_positive or number % 4 == 0:
        return
    # Most of what is well-formed is about the agent whose key is shown.
    if case.operation.path.startswith("/v1/inbox/"):
        case.path_parameters["address"] = AGENT
    if case.operation.label == "POST /v1/messages" and isinstance(case.body, dict):
        case.body["sender"] = AGENT
        case.body["recipients"] = [AGENT]
