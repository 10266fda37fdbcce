// Every operation of A2A 1.0 by the SDK for JavaScript 1.3, as it comes from the registry.
//
//     node client_1_0.mjs BASE BINDING RECEIVER      (AMTP_KEY=…)
//
// What the client sees is printed as JSON, and is what client_1_0.py sees: the agent is the same.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import * as a2a from "@a2a-js/sdk";
import { ClientFactory, JsonRpcTransportFactory, RestTransportFactory } from "@a2a-js/sdk/client";

const [base, binding, receiver] = process.argv.slice(2);
const Authorization = `Bearer ${process.env.AMTP_KEY}`;
const fetchImpl = (to, init) => fetch(to, { ...init, headers: { ...init?.headers, Authorization } });
const Factory = { JSONRPC: JsonRpcTransportFactory, "HTTP+JSON": RestTransportFactory }[binding];
const transports = [new Factory({ fetchImpl })];
const client = await new ClientFactory({ transports }).createFromUrl(base);

const seen = [];
const note = (what, value) => seen.push([what, value]);
const state = (status) => a2a.taskStateToJSON(status.state).replace("TASK_STATE_", "").toLowerCase();
const texts = (parts) => parts.map((part) => (part.content.$case === "text" ? part.content.value : null));
const result = (task) => [state(task.status), task.artifacts.map((it) => [it.name, texts(it.parts)])];

// What an event says; nothing where it only says that the agent is at work.
function word({ payload: { $case, value } }) {
  if ($case === "statusUpdate") {
    const said = [state(value.status), ...texts(value.status.message?.parts ?? [])];
    return said.length === 1 && said[0] === "working" ? null : said;
  }
  if ($case === "artifactUpdate") {
    return ["artifact", ...texts(value.artifact.parts), value.append, value.lastChunk];
  }
  return $case;
}

async function words(stream) {
  const heard = [];
  for await (const event of stream) heard.push(word(event));
  return heard.filter((it) => it);
}

function message(text, { task, contextId, taskId, push, atOnce = false } = {}) {
  const more = task ? { taskId: task.id, contextId: task.contextId } : { contextId, taskId };
  const configuration = { returnImmediately: atOnce, taskPushNotificationConfig: push };
  const said = { messageId: randomUUID(), role: "ROLE_USER", parts: [{ text }], ...more };
  return a2a.SendMessageRequest.fromJSON({ message: said, configuration });
}

async function refused(name, call) {
  try {
    await call();
  } catch (told) {
    const right = [told.name, told.constructor.name].some((it) => it.includes(name));
    assert(right, `${name} was expected: ${told.name} ${told.stack}`);
    assert(told.message);
    // Where the SDK has a name of its own.
    note("refused", name.replace("RequestMalformedError", "InvalidParamsError"));
    return;
  }
  assert.fail(`${name} was expected`);
}

async function sending() {
  const task = await client.sendMessage(message("hello"));
  note("blocking", result(task));
  note("history", task.history.map((it) => [a2a.roleToJSON(it.role), texts(it.parts)]));
  const again = await client.getTask({ id: task.id, historyLength: 0 });
  assert.deepEqual(again.artifacts, task.artifacts);
  assert.equal(again.history.length, 0);
  await refused("UnsupportedOperationError", () => client.sendMessage(message("more", { task })));
  const more = await client.sendMessage(message("hello", { contextId: task.contextId }));
  assert(more.id !== task.id && more.contextId === task.contextId);
  const asked = await client.sendMessage(message("ask"));
  note("asked", [state(asked.status), texts(asked.status.message.parts)]);
  const told = await client.sendMessage(message("red", { task: asked }));
  assert(told.id === asked.id && told.contextId === asked.contextId);
  note("told", result(told));
  note("history", told.history.map((it) => texts(it.parts)));
  await refused("TaskNotFoundError", () => client.sendMessage(message("hello", { taskId: randomUUID() })));
  const begun = await client.sendMessage(message("wait", { atOnce: true }));
  assert(["submitted", "working"].includes(state(begun.status)));
  return [task, begun];
}

async function streaming() {
  note("stream", await words(client.sendMessageStream(message("work"))));
  note("question", await words(client.sendMessageStream(message("ask"))));
}

async function subscribing() {
  const { id } = await client.sendMessage(message("wait", { atOnce: true }));
  const stream = client.resubscribeTask({ id });
  const first = (await stream.next()).value;
  assert.equal(first.payload.value.id, id);
  note("canceled", result(await client.cancelTask({ id })));
  assert.deepEqual(await words(stream), [["canceled"]]);
  await refused("TaskNotCancelableError", () => client.cancelTask({ id }));
  await refused("UnsupportedOperationError", () => words(client.resubscribeTask({ id })));
  const unknown = randomUUID();
  await refused("TaskNotFoundError", () => client.getTask({ id: unknown }));
  await refused("TaskNotFoundError", () => client.cancelTask({ id: unknown }));
}

const list = (filter) => client.listTasks(a2a.ListTasksRequest.fromJSON(filter));

async function listing({ contextId }) {
  const mine = await list({ contextId });
  note("context", [mine.tasks.length, mine.totalSize, mine.pageSize, mine.nextPageToken]);
  assert(!mine.tasks.some((it) => it.artifacts.length));
  const full = await list({ contextId, includeArtifacts: true, historyLength: 0 });
  assert(full.tasks.every((it) => it.artifacts.length && !it.history.length));
  const found = await list({ status: "TASK_STATE_CANCELED" });
  note("by state", found.tasks.map((it) => state(it.status)));
  const pages = [];
  let page = { nextPageToken: "" };
  do {
    page = await list({ pageSize: 2, pageToken: page.nextPageToken });
    pages.push(...page.tasks.map((it) => it.id));
  } while (page.nextPageToken);
  assert.equal(new Set(pages).size, page.totalSize);
  note("listed", page.totalSize);
  await refused("RequestMalformedError", () => list({ pageSize: 101 }));
  await refused("RequestMalformedError", () => list({ pageToken: "x" }));
}

async function posting({ id: taskId }) {
  const authentication = { scheme: "Bearer", credentials: "secret-2" };
  const push = { id: "mine", url: receiver, token: "token-2", authentication };
  const config = a2a.TaskPushNotificationConfig.fromJSON({ ...push, taskId });
  const made = await client.createTaskPushNotificationConfig(config);
  assert.deepEqual([made.id, made.url, made.taskId], ["mine", receiver, taskId]);
  const one = { taskId, id: "mine" };
  assert.deepEqual(await client.getTaskPushNotificationConfig(one), made);
  assert.deepEqual((await client.listTaskPushNotificationConfig({ taskId })).configs, [made]);
  await client.deleteTaskPushNotificationConfig(one);
  await client.deleteTaskPushNotificationConfig(one);
  assert.deepEqual((await client.listTaskPushNotificationConfig({ taskId })).configs, []);
  await refused("TaskNotFoundError", () => client.getTaskPushNotificationConfig(one));
  const { id } = await client.sendMessage(message("work", { push, atOnce: true }));
  note("posted", true);
  return id;
}

const card = await client.getAgentCard();
assert.equal(card.supportedInterfaces[0].protocolVersion, "1.0");
note("card", [card.capabilities.streaming, card.capabilities.pushNotifications]);
note("modes", [...card.defaultInputModes, ...card.defaultOutputModes]);
const [task, begun] = await sending();
await streaming();
await subscribing();
await listing(task);
const posted = await posting(begun);
console.log(JSON.stringify({ seen, posted }));
