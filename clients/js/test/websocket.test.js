import assert from "node:assert/strict";
import { test } from "node:test";

import { connect } from "../index.js";
import { FakeSocket } from "./support/fake-socket.js";
import { BOOT, fakeServer, json, problem, said } from "./support/fake.js";
import { until } from "./support/until.js";

const URL = "http://chat.example";

/** A client whose first socket is open. */
async function connected(handlers = {}) {
  FakeSocket.made = [];
  const server = fakeServer({ "/api/boot": () => json(BOOT), ...handlers });
  const client = connect({ url: URL, token: "t", transport: "ws", WebSocket: FakeSocket, fetch: server.fetch });
  await until("there is a socket", () => FakeSocket.made[0]?.onopen);
  return { client, server, socket: FakeSocket.made[0] };
}

const hello = { type: "hello", session: "s1", resume: "ok", head: 4, resume_token: BOOT.resume_token, window: 1000 };
const events = { type: "events", session: "s1", events: [said(5, "hi")], resume_token: "5-00000005" };

test("a session begins behind the boot, and what is folded is acknowledged", async () => {
  const { client, socket } = await connected();
  assert.equal(socket.url, "ws://chat.example/api/ws");
  assert.deepEqual(socket.init, { headers: { authorization: "Bearer t" } });
  socket.onopen();
  await until("it has opened a session", () => socket.said.length === 1);
  assert.deepEqual(socket.said[0], { type: "open", resume_point: BOOT.resume_token });
  let acknowledged;
  client.addEventListener("change", () => (acknowledged = socket.said.length > 1));
  socket.hear(hello);
  socket.hear(events);
  await until("it has acknowledged", () => socket.said.length === 2);
  client.close();
  assert.deepEqual(socket.said[1], { type: "ack", session: "s1", offset: 5 });
  assert.equal(acknowledged, false, "not before it was folded");
  assert.equal(socket.readyState, 3);
});

test("after a broken socket the session goes on on another", async () => {
  const { client, socket } = await connected();
  socket.onopen();
  socket.hear(hello);
  socket.hear(events);
  await until("it has the message", () => client.state.offset === 5);
  socket.close(1006);
  await until("there is another socket", () => FakeSocket.made[1]?.onopen);
  FakeSocket.made[1].onopen();
  await until("it goes on", () => FakeSocket.made[1].said.length === 1);
  client.close();
  assert.deepEqual(FakeSocket.made[1].said[0], { type: "open", resume_point: "5-00000005", session: "s1" });
});

test("a socket that is closed for want of an identity is the end", async () => {
  const { client, socket } = await connected();
  socket.onopen();
  socket.hear(hello);
  socket.close(4401);
  await until("it ends", () => client.endReason);
  assert.equal(client.endReason, "unauthenticated");
});

test("a socket that does not open is asked about over HTTP, where a refusal can be read", async () => {
  const { client, socket } = await connected({ "/api/auth/me": () => problem(401, "unauthenticated") });
  socket.close(1006);
  await until("it ends", () => client.endReason);
  assert.equal(client.endReason, "unauthenticated");
});

test("a socket of which only an error is told is no different", async () => {
  const { client, socket } = await connected({ "/api/auth/me": () => problem(401, "unauthenticated") });
  socket.onerror({});
  await until("it ends", () => client.endReason);
  assert.equal(client.endReason, "unauthenticated");
});

test("a session that the server does not take is asked for anew, as long later as it says", async () => {
  const { client, socket } = await connected();
  const waits = [];
  client.addEventListener("status", ({ detail }) => detail.ms && waits.push([detail.ms, detail.error.message]));
  socket.onopen();
  socket.hear(hello);
  socket.hear({ type: "answer", session: "s1", status: 404, retry: 600, body: { code: "unknown_session", detail: "there is none" } });
  await until("there is another socket", () => FakeSocket.made[1]?.onopen);
  FakeSocket.made[1].onopen();
  await until("it begins", () => FakeSocket.made[1].said.length === 1);
  client.close();
  assert.deepEqual(waits, [[600, "there is none"]]);
  assert.deepEqual(FakeSocket.made[1].said[0], { type: "open", resume_point: BOOT.resume_token });
});

test("a goodbye that says when to come back is obeyed", async () => {
  const { client, socket } = await connected();
  const waits = [];
  client.addEventListener("status", ({ detail }) => detail.ms && waits.push(detail.ms));
  socket.onopen();
  socket.hear(hello);
  socket.hear({ type: "bye", session: "s1", reason: "shutdown", offset: 4, resume_token: BOOT.resume_token, retry: 4321 });
  await until("it waits", () => waits.length);
  client.close();
  assert.deepEqual(waits, [4321]);
});
