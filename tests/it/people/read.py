"""Reads a mail as another program does, and checks its signatures.

read.py FILE RECORDS: RECORDS is JSON, the TXT records of names. Prints what was found as JSON.
"""

import email
import email.policy
import json
import sys

import dkim

raw = open(sys.argv[1], "rb").read()
records = json.loads(sys.argv[2])
mail = email.message_from_bytes(raw, policy=email.policy.default)


def txt(name, timeout=5):
    return records.get(name.decode().rstrip("."), "").encode()


def signatures():
    count = len(mail.get_all("DKIM-Signature") or [])
    return [dkim.DKIM(raw).verify(idx=index, dnsfunc=txt) for index in range(count)]


def whole():
    for part in mail.iter_attachments():
        if part.get_filename() == "message.amtp.json":
            return json.loads(part.get_content())
    return None


def changed():
    """Whether a signature holds although the JSON part was changed."""
    other = raw.replace(b"message.amtp.json", b"another.amtp.json", 1)
    try:
        return dkim.DKIM(other).verify(idx=0, dnsfunc=txt)
    except dkim.ValidationError:
        return False


plain, html = mail.get_body(("plain",)), mail.get_body(("html",))
print(json.dumps({
    "subject": mail["Subject"],
    "from": mail["From"],
    "to": mail["To"],
    "reply_to": mail["Reply-To"],
    "message_id": mail["Message-ID"],
    "in_reply_to": mail["In-Reply-To"],
    "auto": mail["Auto-Submitted"],
    "return_path": mail["Return-Path"],
    "received": mail["Received"],
    "text": plain.get_content() if plain else None,
    "html": html is not None,
    "message": whole(),
    "signatures": signatures(),
    "changed": changed() if mail["DKIM-Signature"] else None,
    "defects": [str(defect) for part in mail.walk() for defect in part.defects],
}))
