"""Reads what the dialects write with the models of the A2A SDK for Python: 1.3 reads 1.0, 0.3.26 reads 0.3.

First write it:  cargo test --lib -- --ignored samples_for_other_readers
Then, with each: python tests/a2a/read_samples.py
"""

import importlib.metadata
import json
import tempfile

import a2a.types

VERSION = "1.0" if importlib.metadata.version("a2a-sdk").startswith("1.") else "0.3"


def read(kind, value):
    model = getattr(a2a.types, kind)
    if VERSION == "0.3":
        model.model_validate(value, strict=False)
        return
    from google.protobuf.json_format import MessageToDict, ParseDict

    # Members that the protocol does not have are refused.
    back = MessageToDict(ParseDict(value, model()))
    for name in back:
        assert name in value, (kind, name)


with open(f"{tempfile.gettempdir()}/a2a-samples.json", encoding="utf-8") as file:
    samples = [sample for sample in json.load(file) if sample["kind"].startswith(VERSION)]
for sample in samples:
    read(sample["kind"].split()[1], sample["value"])
print(f"{len(samples)} samples of {VERSION} read")
