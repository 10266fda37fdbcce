"""Verifies signed agent cards with the A2A SDK for Python 1.3 (`pip install 'a2a-sdk[signing]==1.3.*'`).

First write them:  cargo test --lib -- --ignored a_signed_card_for_others
Then:              python tests/a2a/verify_cards.py
"""

import json
import sys
import tempfile

from a2a.types import AgentCard
from a2a.utils.signing import SignatureVerificationError, create_signature_verifier
from google.protobuf.json_format import ParseDict
from jwt.api_jwk import PyJWK

FOLDER = tempfile.gettempdir()


def read(name):
    with open(f"{FOLDER}/a2a-card-{name}.json", encoding="utf-8") as file:
        return json.load(file)


keys = {key["kid"]: PyJWK(key) for key in read("keys")["keys"]}
verify = create_signature_verifier(lambda kid, jku: keys[kid], ["ES256"])
for name in ("shop", "plain"):
    # A strict reader: a member that the protocol does not have is refused.
    verify(ParseDict(read(name), AgentCard()))
    changed = read(name) | {"description": "another"}
    try:
        verify(ParseDict(changed, AgentCard()))
    except SignatureVerificationError:
        print(f"{name}: the signature holds, and not for a changed card")
    else:
        sys.exit(f"{name}: a changed card is believed")
