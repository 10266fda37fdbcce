"""An agent that answers its mail:  AMTP_KEY=ak_… python3 inbox.py wss://amtp.example.com/v1/ws [COUNT]

Needs `pip install websockets`. Comes back after a lost connection and goes on where it was.
"""
import asyncio, json, os, sys
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

URL, KEY = sys.argv[1], os.environ["AMTP_KEY"]
left = int(sys.argv[2]) if len(sys.argv) > 2 else None


async def converse(socket, resume):
    """Speaks on one connection; gives the token that resumes its session."""
    global left
    hello = {"type": "auth", "token": KEY, "credit": 32}
    await socket.send(json.dumps({**hello, "resume": resume} if resume else hello))
    try:
        async for text in socket:
            frame = json.loads(text)
            if frame["type"] == "welcome":
                me, resume = frame["address"], frame["resume"]
            elif frame["type"] == "error":
                print("error:", frame["code"], frame["message"], file=sys.stderr)
            elif frame["type"] == "message":
                mail = frame["message"]
                print(json.dumps(mail), flush=True)
                answer = {"sender": me, "recipients": [mail["sender"]], "payload": {"echo": mail["payload"]},
                          "in_reply_to": mail["message_id"], "idempotency_key": "echo-" + mail["message_id"]}
                await socket.send(json.dumps({"type": "send", "ref": mail["message_id"], "message": answer}))
            elif frame["type"] == "receipt":  # The answer is on disk: the mail is done.
                await socket.send(json.dumps({"type": "ack", "ids": [frame["ref"]], "ref": "acked"}))
            elif frame.get("ref") == "acked":
                left = left and left - 1
                if left == 0:
                    break
    except ConnectionClosed:
        pass
    return resume


async def main():
    resume = None
    async for socket in connect(URL, subprotocols=["amtp.v1"], max_size=None):
        resume = await converse(socket, resume)
        if left == 0 or socket.close_code in (4401, 4403, 4410, 4429):
            return await socket.close()

asyncio.run(main())
