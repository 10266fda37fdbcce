// An agent that answers its mail:  AMTP_KEY=ak_… node inbox.js wss://amtp.example.com/v1/ws [COUNT]
//
// Needs `npm install ws`. Comes back after a lost connection and goes on where it was.
const WebSocket = require("ws");

const [url, count] = process.argv.slice(2);
let left = count ? Number(count) : Infinity;
let me, resume, pause = 1000;

function connect() {
  const socket = new WebSocket(url, "amtp.v1");
  const say = (frame) => socket.send(JSON.stringify(frame));
  socket.on("open", () => say({ type: "auth", token: process.env.AMTP_KEY, credit: 32, resume }));
  socket.on("message", (text) => {
    const frame = JSON.parse(text);
    if (frame.type === "welcome") {
      ({ address: me, resume } = frame);
      pause = 1000;
    } else if (frame.type === "error") {
      console.error("error:", frame.code, frame.message);
    } else if (frame.type === "message") {
      const mail = frame.message;
      console.log(JSON.stringify(mail));
      say({ type: "send", ref: mail.message_id, message: {
        sender: me, recipients: [mail.sender], payload: { echo: mail.payload },
        in_reply_to: mail.message_id, idempotency_key: "echo-" + mail.message_id,
      } });
    } else if (frame.type === "receipt") { // The answer is on disk: the mail is done.
      say({ type: "ack", ids: [frame.ref], ref: "acked" });
    } else if (frame.ref === "acked" && --left === 0) {
      socket.close(1000);
    }
  });
  socket.on("error", (error) => console.error(error.message));
  socket.on("close", (code, reason) => {
    if (left === 0) return;
    if ([4401, 4403, 4410, 4429].includes(code)) throw new Error(`closed: ${code} ${reason}`);
    setTimeout(connect, pause * (0.5 + Math.random() / 2));
    pause = Math.min(2 * pause, 30000);
  });
}

connect();
