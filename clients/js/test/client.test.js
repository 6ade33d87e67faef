import assert from "node:assert/strict";
import { test } from "node:test";

import { connect } from "../index.js";
import { BOOT, HELLO, control, fakeServer, frame, json, problem, said, stream } from "./support/fake.js";
import { until } from "./support/until.js";

const URL = "http://chat.example";
const live = (request) => stream(HELLO + control({ type: "caught_up", offset: 4 }), { ...request, staysOpen: true });

/** A client of handlers for boots and streams, and all that it tells. */
function connected({ boot = () => json(BOOT), events = live, ...more }, options = {}) {
  const server = fakeServer({ "/api/boot": boot, "/api/events": events, ...more });
  const client = connect({ url: URL, token: "t", fetch: server.fetch, ...options });
  const told = [];
  for (const type of ["boot", "change", "status", "end"]) {
    client.addEventListener(type, ({ detail }) => told.push({ type, ...detail }));
  }
  const waits = () => told.filter(({ status }) => status === "waiting").map(({ ms }) => ms);
  return { client, server, told, waits };
}

test("a client boots with its token and follows from the boot's resume token", async () => {
  const { client, server, told } = connected({});
  await until("it is live", () => client.status === "live");
  client.close();
  const [boot, events] = server.requests;
  assert.equal(boot.headers.authorization, "Bearer t");
  assert.equal(events.query.get("resume_point"), BOOT.resume_token);
  assert.equal((await client.ready).offset, 4);
  assert.deepEqual(told.map(({ type, status }) => status ?? type), ["boot", "live", "ended", "end"]);
});

test("a token may be asked for anew at every request", async () => {
  let asked = 0;
  const { client, server } = connected({}, { token: async () => `t${(asked += 1)}` });
  await until("it is live", () => client.status === "live");
  client.close();
  assert.deepEqual(server.requests.map(({ headers }) => headers.authorization), ["Bearer t1", "Bearer t2"]);
});

test("a stream that breaks is opened again behind the last event", async () => {
  const torn = () => stream(HELLO + frame(said(5, "whole")) + frame(said(6, "torn")).slice(0, -1));
  const { client, server, told } = connected({ events: [torn, live] });
  await until("it is live", () => client.status === "live");
  client.close();
  assert.equal(server.of("/api/events")[1].query.get("resume_point"), "5-00000005");
  assert.deepEqual(client.state.messages.get("C3").map(({ body }) => body), ["whole"]);
  assert.equal(told.filter(({ type }) => type === "change").length, 1);
  assert.equal(client.boots, 1);
});

test("a stream that is silent for some heartbeats is given up and opened again", async () => {
  const hello = control({ type: "hello", resume: "ok", head: 4, resume_token: BOOT.resume_token, heartbeat: 0.03 });
  const events = (request) => stream(hello, { ...request, staysOpen: true });
  const { client, server, told } = connected({ events });
  await until("it was opened again", () => server.of("/api/events").length === 2);
  assert.equal(server.of("/api/events")[0].signal.aborted, true);
  client.close();
  assert.match(told.find(({ status }) => status === "waiting").error.message, /silent/);
});

test("how long a stream may be silent is by the heartbeat that it has said itself", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const hello = control({ type: "hello", resume: "ok", head: 4, resume_token: BOOT.resume_token, heartbeat: 40 });
  const caughtUp = control({ type: "caught_up", offset: 4 });
  const events = (request) => stream(hello + caughtUp, { ...request, staysOpen: true });
  const { client } = connected({ events });
  await until("it is live", () => client.status === "live");
  t.mock.timers.tick(119_999);
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(client.status, "live");
  t.mock.timers.tick(1);
  await until("it has given it up", () => client.status === "waiting");
  client.close();
});

test("after a stream a client waits as long as the server has asked", async () => {
  const { client, waits } = connected({ events: () => stream(`retry: 7339\n${HELLO}`) });
  await until("it waits", () => waits().length);
  client.close();
  assert.deepEqual(waits(), [7339]);
});

test("also after a stream that broke a client waits as long as the server has asked", async () => {
  const { client, waits } = connected({ events: () => stream(`retry: 7339\n${HELLO}`, { breaks: true }) });
  await until("it waits", () => waits().length);
  client.close();
  assert.deepEqual(waits(), [7339]);
});

test("a refusal for now is waited out as long as it says", async () => {
  const { client, waits } = connected({ boot: () => problem(503, "starting", { "retry-after": "9" }) });
  await until("it waits", () => waits().length);
  client.close();
  assert.deepEqual(waits(), [9000]);
});

test("a client that is never let in waits longer and longer", async () => {
  const { client, waits } = connected({ boot: () => Promise.reject(new TypeError("fetch failed")) });
  await until("it has waited twice", () => waits().length === 3);
  client.close();
  const [first, second, third] = waits();
  assert.ok(first >= 250 && first <= 500, `${first}`);
  assert.ok(second >= 500 && second <= 1000, `${second}`);
  assert.ok(third >= 1000 && third <= 2000, `${third}`);
});

for (const where of ["boot", "events"]) {
  test(`whatever a program's own fetch fails with at the ${where}, a client tries again`, async () => {
    const answers = { boot: () => json(BOOT), events: live };
    const failing = [undefined, "gone", Object.freeze(new Error("frozen"))].map((thrown) => () => Promise.reject(thrown));
    const { client, waits } = connected({ ...answers, [where]: [...failing, answers[where]] });
    await until("it is live", () => client.status === "live");
    client.close();
    assert.equal(waits().length, 3);
  });
}

test("a boot that is refused for want of an identity is the end", async () => {
  const { client, told } = connected({ boot: () => problem(401, "unauthenticated") });
  await assert.rejects(client.ready, /unauthenticated/);
  assert.equal(client.endReason, "unauthenticated");
  assert.deepEqual(told.at(-1), { type: "end", reason: "unauthenticated" });
});

test("a goodbye to somebody who is nobody any more is the end", async () => {
  const bye = control({ type: "bye", reason: "revoked", code: "unauthenticated", offset: 4 });
  const { client, server } = connected({ events: () => stream(HELLO + bye) });
  await until("it ends", () => client.endReason);
  assert.equal(client.endReason, "unauthenticated");
  assert.equal(server.requests.length, 2);
});

test("who has lost a channel comes back at once", async () => {
  const bye = control({ type: "bye", reason: "revoked", code: "forbidden", offset: 4 });
  const { client, waits } = connected({ events: [() => stream(`retry: 7339\n${HELLO}${bye}`), live] });
  await until("it is live", () => client.status === "live");
  client.close();
  assert.deepEqual(waits(), []);
});

for (const resume of ["other_history", "ahead"]) {
  test(`on ${resume} a client boots again and tells why`, async () => {
    const refusal = (request) => stream(control({ type: "hello", resume, head: 3 }), { ...request, staysOpen: true });
    const { client, told } = connected({ events: [refusal, live] });
    await until("it is live", () => client.status === "live");
    client.close();
    assert.deepEqual(told.filter(({ type }) => type === "boot").map(({ reason }) => reason), ["first", resume]);
  });
}

test("a server that always has another history is not asked over and over", async () => {
  const refusal = () => stream(control({ type: "hello", resume: "other_history", head: 3 }));
  const { client, waits } = connected({ events: refusal });
  await until("it has waited twice", () => waits().length === 2);
  client.close();
  assert.equal(client.boots, 3);
});

test("who becomes an owner boots again", async () => {
  const changed = { offset: 5, at: "2026", type: "user", event: "changed", id: "U2", name: "bob", role: "owner", active: true };
  const owner = { ...BOOT, user: { ...BOOT.user, role: "owner" }, resume_point: 5, resume_token: "5-00000005" };
  const boot = [() => json(BOOT), () => json(owner)];
  const { client, told } = connected({ boot, events: [() => stream(HELLO + frame(changed)), live] });
  await until("it is live", () => client.status === "live");
  client.close();
  assert.deepEqual(told.filter(({ type }) => type === "boot").map(({ reason }) => reason), ["first", "rights"]);
  assert.equal(client.state.user.role, "owner");
});

test("a history that cannot be read is read later; until then the state stays before it", async () => {
  const added = { offset: 6, at: "2026", type: "member", event: "added", channel: "C2", user: "U2", by: "U1", history_after: 1 };
  const created = { offset: 2, at: "2026", type: "channel", event: "created", id: "C2", name: "secret", private: true, creator: "U1" };
  const events = (request) => stream(HELLO + frame(said(5, "five")) + frame(added), { ...request, staysOpen: true });
  const page = () => json({ resume: "ok", events: [created], next: "6-00000006", head: 6 });
  const poll = [() => problem(503, "busy"), page];
  const { client, server } = connected({ events, "/api/events/poll": poll });
  const changes = [];
  client.addEventListener("change", ({ detail }) => changes.push([...detail.state.channels.keys()]));
  await until("it has the channel", () => client.state?.channels.has("C2"));
  client.close();
  assert.deepEqual(changes, [["C2", "C3"]], "one change, with all of it");
  assert.equal(server.of("/api/events")[1].query.get("resume_point"), BOOT.resume_token);
  assert.equal(server.of("/api/events/poll")[1].query.get("channel"), "C2");
});

test("a closed client asks for nothing more, and hangs up", async () => {
  const { client, server } = connected({});
  await until("it is live", () => client.status === "live");
  client.close();
  assert.equal(server.of("/api/events")[0].signal.aborted, true);
  assert.equal(client.endReason, "closed");
  await assert.rejects(client.send("C3", "too late"), /closed/);
});

test("after a log-in an ended client goes on where it was", async () => {
  const refusal = () => problem(401, "unauthenticated");
  const first = () => stream(HELLO + frame(said(5, "before")));
  const me = () => json(BOOT.user);
  const { client, server } = connected({ events: [first, refusal, live], "/api/auth/me": me });
  await until("it ends", () => client.endReason);
  client.renew("t2");
  await until("it is live", () => client.status === "live");
  client.close();
  const last = server.of("/api/events").at(-1);
  assert.equal(last.query.get("resume_point"), "5-00000005");
  assert.equal(last.headers.authorization, "Bearer t2");
  assert.equal(client.boots, 1);
});

test("after a log-in of somebody else nothing is left of the state", async () => {
  const me = () => json({ id: "U9", name: "eve", role: "member" });
  const { client, told } = connected({ events: [() => problem(401, "unauthenticated"), live], "/api/auth/me": me });
  await until("it ends", () => client.endReason);
  client.renew("t2");
  await until("it is live", () => client.status === "live");
  client.close();
  assert.deepEqual(told.filter(({ type }) => type === "boot").map(({ reason }) => reason), ["first", "rights"]);
});

test("a client that never had a state has one after a log-in", async () => {
  const { client } = connected({ boot: [() => problem(401, "unauthenticated"), () => json(BOOT)] });
  await assert.rejects(client.ready);
  client.renew("t2");
  assert.equal((await client.ready).offset, 4);
  client.close();
});

test("a client that is closed and renewed before it has begun begins once", async () => {
  const { client, server } = connected({});
  client.close();
  client.renew("t2");
  await until("it is live", () => client.status === "live");
  client.close();
  assert.deepEqual(server.requests.map(({ path }) => path), ["/api/boot", "/api/events"]);
});

test("a WebSocket is only promised where there is one that can say who asks", () => {
  const plain = { url: URL, transport: "ws", WebSocket: null };
  assert.throws(() => connect(plain), /no WebSocket/);
  assert.throws(() => connect({ url: URL, transport: "pigeon" }), /pigeon/);
  const before = [globalThis.document, globalThis.WebSocket];
  try {
    [globalThis.document, globalThis.WebSocket] = [{}, class {}];
    assert.throws(() => connect({ url: URL, transport: "ws", token: "t" }), /cookie/);
  } finally {
    [globalThis.document, globalThis.WebSocket] = before;
  }
});
