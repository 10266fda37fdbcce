// Asks an agent by A2A 1.0: AMTP_KEY=… node a2a_ask.mjs https://example.com/a2a/orders/ "Order a widget" (@a2a-js/sdk 1.3)
import { randomUUID } from "node:crypto";
import { SendMessageRequest, StreamResponse } from "@a2a-js/sdk";
import { ClientFactory, JsonRpcTransportFactory } from "@a2a-js/sdk/client";

const [url, text] = process.argv.slice(2);
const Authorization = `Bearer ${process.env.AMTP_KEY}`;
const fetchImpl = (to, init) => fetch(to, { ...init, headers: { ...init?.headers, Authorization } });
const transports = [new JsonRpcTransportFactory({ fetchImpl })];
const client = await new ClientFactory({ transports }).createFromUrl(url);
const message = { messageId: randomUUID(), role: "ROLE_USER", parts: [{ text }] };
for await (const event of client.sendMessageStream(SendMessageRequest.fromJSON({ message }))) {
  console.log(JSON.stringify(StreamResponse.toJSON(event)));
}
