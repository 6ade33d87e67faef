import assert from "node:assert/strict";
import { afterEach, test } from "node:test";

import { tail } from "../index.js";
import { FakeSocket } from "./support/fake-socket.js";
import { HELLO, control, fakeServer, frame, json, problem, said, stream } from "./support/fake.js";
import { until } from "./support/until.js";

const URL = "http://chat.example";
/** Where the streams of these tests begin if nothing else is said. */
const BEGIN = "4-00000004";
const CAUGHT_UP = control({ type: "caught_up", offset: 4 });
const FILTERS = [[["type", "=", "message"], ["channel", "in", ["C1", "C2"]]], [["event", "!=", "sent"]]];

const live = (request) => stream(HELLO + CAUGHT_UP, { ...request, staysOpen: true });
const never = ({ signal }) =>
  new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
const bodies = (told) => told.flatMap(({ events }) => events ?? []).map(({ body }) => body);

/** A tail of handlers for streams and polls, or of a socket, and all that it tells. */
function tailed({ events = live, poll = never, ...more } = {}, options = {}) {
  FakeSocket.made = [];
  const server = fakeServer({ "/api/events": events, "/api/events/poll": poll, ...more });
  const log = tail({ url: URL, token: "t", fetch: server.fetch, WebSocket: FakeSocket, ...options });
  logs.push(log);
  const told = [];
  for (const type of ["events", "caught_up", "status", "end"]) {
    log.addEventListener(type, ({ detail }) => told.push({ type, ...detail }));
  }
  return { log, server, told };
}

/** The socket of that number, open. */
async function socketOf(number) {
  const socket = await until("there is a socket", () => FakeSocket.made[number]?.onopen && FakeSocket.made[number]);
  socket.onopen();
  await until("it is asked for a session", () => socket.said.length > 0);
  return socket;
}

const logs = [];
afterEach(() => {
  for (const log of logs.splice(0)) log.close();
});

const STARTS = [
  [{}, "now", "now"],
  [{ after: 0 }, "0", 0],
  [{ after: "7-0000000a" }, "7-0000000a", "7-0000000a"],
  [{ last: 20 }, null, undefined],
  [{ since: "2026-11-29T09:00:00+01:00" }, null, undefined],
];
for (const [start, inQuery, inMessage] of STARTS) {
  const { last, since } = start;
  const name = JSON.stringify(start);

  for (const [transport, path, point] of [["sse", "/api/events", "resume_point"], ["poll", "/api/events/poll", "after"]]) {
    test(`by ${transport} a tail asks for what it is to begin with, ${name}, and for what it is to bring`, async () => {
      const { log, server } = tailed({ events: never }, { transport, ...start, filters: FILTERS });
      assert.deepEqual(log.start, start);
      await until("it asks", () => server.requests.length);
      const [{ query, headers }] = server.of(path);
      assert.equal(query.get(point), inQuery);
      assert.deepEqual([query.get("last"), query.get("since")], [last ? `${last}` : null, since ?? null]);
      assert.deepEqual(query.getAll("filter").map(JSON.parse), FILTERS);
      assert.equal(headers.authorization, "Bearer t");
    });
  }

  test(`by ws a tail asks for what it is to begin with, ${name}, and for what it is to bring`, async () => {
    const { log } = tailed({}, { transport: "ws", ...start, filters: FILTERS });
    const { said } = await socketOf(0);
    log.close();
    const place = { ...(inMessage !== undefined && { resume_point: inMessage }), ...(last && { last }), ...(since && { since }) };
    assert.deepEqual(said, [{ type: "open", ...place, filters: FILTERS }]);
  });
}

test("a tail without filters asks for everything", async () => {
  const { server } = tailed({}, { filters: [] });
  await until("it asks", () => server.requests.length);
  assert.deepEqual([...server.requests[0].query.keys()], ["resume_point"]);
  tailed({}, { transport: "ws", filters: [] });
  assert.deepEqual((await socketOf(0)).said, [{ type: "open", resume_point: "now" }]);
});

test("a tail begins at one place", () => {
  assert.throws(() => tail({ url: URL, after: 0, last: 3 }), /not at after and last/);
  assert.throws(() => tail({ url: URL, after: 0, since: "2026-11-29T09:00:00Z" }), TypeError);
});

for (const start of [{}, { last: 3 }, { since: "2026-11-29T09:00:00Z" }, { after: 4 }]) {
  const name = JSON.stringify(start);

  test(`a stream that is lost before any event is gone on with where it began, ${name}`, async () => {
    const { log, server } = tailed({ events: [() => stream(HELLO), live] }, start);
    await until("it is live", () => log.status === "live");
    assert.deepEqual([...server.of("/api/events")[1].query], [["resume_point", BEGIN]]);
    assert.deepEqual(log.start, { after: BEGIN });
  });

  test(`a socket that is lost before any event is gone on with where its session began, ${name}`, async () => {
    const { log } = tailed({}, { transport: "ws", ...start });
    const first = await socketOf(0);
    first.hear({ type: "hello", session: "s1", resume: "ok", head: 4, resume_token: BEGIN, window: 9, heartbeat: 15 });
    await until("it has begun", () => log.start.after === BEGIN);
    first.close(1006);
    assert.deepEqual((await socketOf(1)).said, [{ type: "open", resume_point: BEGIN, session: "s1" }]);
  });
}

test("a tail that was never let in begins where it was told to", async () => {
  const away = [() => Promise.reject(new TypeError("fetch failed")), () => problem(503, "starting")];
  const { log, server } = tailed({ events: [...away, live] }, { last: 3 });
  await until("it is live", () => log.status === "live");
  assert.deepEqual(server.requests.map(({ query }) => `${query}`), ["last=3", "last=3", "last=3"]);
});

test("events are told as they are, and what came together at once", async () => {
  const later = { offset: 6, at: "2026", type: "user", event: "renamed", what: { is: "not known yet" } };
  const events = (request) => stream(HELLO + frame(said(5, "hi")) + frame(later) + CAUGHT_UP, { ...request, staysOpen: true });
  const { log, told } = tailed({ events });
  let seen;
  log.addEventListener("events", () => (seen = log.start));
  await until("it is live", () => log.status === "live");
  const words = told.map(({ type, status }) => status ?? type);
  assert.deepEqual(words, ["events", "live", "caught_up"]);
  assert.deepEqual(told[0], { type: "events", events: [said(5, "hi"), later] });
  assert.deepEqual(seen, { after: "6-00000006" }, "behind what was told when it is told");
});

test("a checkpoint moves the place, and nobody is told", async () => {
  const checkpoint = `id: 9-00000009\n${control({ type: "checkpoint", offset: 9 })}`;
  const { log, server, told } = tailed({ events: [() => stream(HELLO + CAUGHT_UP + checkpoint), never] });
  await until("it comes back", () => server.requests.length === 2);
  assert.equal(server.requests[1].query.get("resume_point"), "9-00000009");
  assert.equal(told.some(({ type }) => type === "events"), false);
  assert.deepEqual(log.start, { after: "9-00000009" });
});

/** What a server has after a place. */
const LOG = [5, 6, 7, 8, 9].map((offset) => said(offset, `${offset} 😀`));
const after = (place) => LOG.filter(({ offset }) => offset > Number.parseInt(place, 10));
const expected = LOG.map(({ body }) => body);

/** Lets time pass until it is so. */
async function pass(t, look) {
  for (let turn = 0; turn < 10_000 && !look(); turn += 1) {
    t.mock.timers.tick(500);
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.ok(look());
}

test("wherever a stream breaks, every event is told once and in its order", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const whole = new TextEncoder().encode(HELLO + LOG.map(frame).join(""));
  for (let cut = 1; cut <= whole.length; cut += 7) {
    const torn = () => new Response(whole.slice(0, cut));
    const rest = (request) => {
      const frames = after(request.query.get("resume_point")).map(frame).join("");
      return stream(HELLO.replace(BEGIN, request.query.get("resume_point")) + frames + CAUGHT_UP, { ...request, staysOpen: true });
    };
    const { log, told } = tailed({ events: [torn, rest] }, { after: BEGIN });
    await pass(t, () => log.status === "live");
    assert.deepEqual(bodies(told), expected, `cut at ${cut}`);
    log.close();
  }
});

test("whichever poll is not answered, every event is told once and in its order", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  for (let lost = 0; lost < LOG.length; lost += 1) {
    let asked = 0;
    const poll = ({ query, signal }) => {
      if ((asked += 1) === lost + 1) throw new TypeError("fetch failed");
      const events = after(query.get("after")).slice(0, 1);
      if (events.length === 0) return never({ signal });
      return json({ resume: "ok", events, next: `${events[0].offset}-00000000`, head: 9 });
    };
    const { log, told } = tailed({ poll }, { transport: "poll", after: BEGIN });
    await pass(t, () => log.status === "live");
    assert.deepEqual(bodies(told), expected, `lost ${lost}`);
    log.close();
  }
});

test("a session that breaks goes on behind what was told, which is acknowledged when it was", async () => {
  const { log, told } = tailed({}, { transport: "ws", after: BEGIN, filters: FILTERS });
  const hello = { type: "hello", session: "s1", resume: "ok", head: 9, resume_token: BEGIN, window: 9, heartbeat: 15 };
  const first = await socketOf(0);
  let acknowledged;
  log.addEventListener("events", () => (acknowledged ??= first.said.length > 1));
  first.hear(hello);
  first.hear({ type: "events", session: "s1", events: LOG.slice(0, 2), resume_token: "6-00000006" });
  await until("it acknowledges", () => first.said.length === 2);
  first.close(1006);
  const second = await socketOf(1);
  assert.deepEqual([acknowledged, first.said[1]], [false, { type: "ack", session: "s1", offset: 6 }]);
  assert.deepEqual(second.said, [{ type: "open", resume_point: "6-00000006", filters: FILTERS, session: "s1" }]);
  second.hear({ ...hello, resume_token: "6-00000006" });
  second.hear({ type: "events", session: "s1", events: LOG.slice(2), resume_token: "9-00000009" });
  second.hear({ type: "caught_up", session: "s1", offset: 9 });
  await until("it is live", () => log.status === "live");
  assert.deepEqual(bodies(told), expected);
});

test("who has lost a channel comes back at once", async () => {
  const bye = control({ type: "bye", reason: "revoked", code: "forbidden", offset: 4 });
  const { log, told } = tailed({ events: [() => stream(`retry: 7339\n${HELLO}${CAUGHT_UP}${bye}`), live] });
  await until("it has caught up again", () => told.filter(({ type }) => type === "caught_up").length === 2);
  log.close();
  assert.equal(told.some(({ status }) => status === "waiting"), false);
});

test("a refusal for now is waited out as long as it says", async () => {
  const { log, told } = tailed({ events: () => problem(429, "too_many_requests", { "retry-after": "9" }) });
  await until("it waits", () => log.status === "waiting");
  const [{ ms, error }] = told;
  assert.deepEqual([ms, error.code], [9000, "too_many_requests"]);
});

const elsewhere = (resume) => control({ type: "hello", resume, head: 3 });
const ENDS = [
  ["other_history", { events: (request) => stream(elsewhere("other_history"), { ...request, staysOpen: true }) }],
  ["ahead", { events: (request) => stream(elsewhere("ahead"), { ...request, staysOpen: true }) }],
  ["other_history", { poll: () => json({ resume: "other_history", events: [], next: null, head: 3 }) }, "poll"],
  ["refused", { events: () => problem(400, "bad_query") }, "sse", "bad_query"],
  ["refused", { poll: () => problem(404, "not_found") }, "poll", "not_found"],
  ["unauthenticated", { events: () => problem(401, "unauthenticated") }, "sse", "unauthenticated"],
  ["unauthenticated", { poll: () => problem(401, "unauthenticated") }, "poll", "unauthenticated"],
  [
    "unauthenticated",
    { events: () => stream(HELLO + control({ type: "bye", reason: "revoked", code: "unauthenticated", offset: 4 })) },
    "sse",
    "unauthenticated",
  ],
];
for (const [number, [reason, handlers, transport = "sse", code]] of ENDS.entries()) {
  test(`by ${transport} a tail ends for good, ${reason} (${number})`, async () => {
    const { log, server, told } = tailed(handlers, { transport, after: BEGIN });
    await until("it ends", () => log.endReason);
    const [ended, end, ...more] = told.slice(-2);
    assert.deepEqual([ended.status, end.type, end.reason, end.error?.code, more], ["ended", "end", reason, code, []]);
    assert.equal("error" in end, code !== undefined);
    assert.deepEqual([log.status, log.endReason, log.start], ["ended", reason, { after: BEGIN }]);
    assert.equal(server.requests.length, 1);
  });
}

const SOCKET_ENDS = [
  ["other_history", (socket) => socket.hear({ type: "hello", session: null, resume: "other_history", head: 3, resume_token: null })],
  ["refused", (socket) => socket.hear({ type: "answer", status: 400, body: { code: "bad_query" } })],
  ["unauthenticated", (socket) => socket.close(4401)],
];
for (const [reason, say] of SOCKET_ENDS) {
  test(`by ws a tail ends for good, ${reason}`, async () => {
    const { log } = tailed({}, { transport: "ws", after: BEGIN });
    const socket = await socketOf(0);
    say(socket);
    await until("it ends", () => log.endReason);
    assert.equal(log.endReason, reason);
    await until("it hangs up", () => socket.readyState === 3);
  });
}

test("a socket that has no room for a session is asked again", async () => {
  const { log } = tailed({}, { transport: "ws" });
  (await socketOf(0)).hear({ type: "answer", status: 409, body: { code: "too_many_sessions" } });
  await socketOf(1);
  assert.equal(log.endReason, undefined);
});

test("a tail that is closed hangs up, and tells nothing of what still comes", async () => {
  let controller;
  const body = new ReadableStream({ start: (given) => (controller = given) });
  const say = (text) => controller.enqueue(new TextEncoder().encode(text));
  const { log, server, told } = tailed({ events: () => new Response(body) });
  say(HELLO + CAUGHT_UP);
  await until("it is live", () => log.status === "live");
  log.close();
  log.close();
  say(frame(said(5, "too late")) + CAUGHT_UP);
  controller.close();
  for (let turn = 0; turn < 50; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(told.map(({ type, status }) => status ?? type), ["live", "caught_up", "ended", "end"]);
  assert.deepEqual(told.at(-1), { type: "end", reason: "closed" });
  assert.deepEqual(log.start, { after: BEGIN });
  assert.equal(server.requests.length, 1);
  assert.equal(server.requests[0].signal.aborted, true);
});

test("who closes a tail while they are told something is told nothing more", async () => {
  const all = HELLO + frame(said(5, "last")) + CAUGHT_UP + frame(said(6, "too late"));
  const { log, told } = tailed({ events: (request) => stream(all, { ...request, staysOpen: true }) });
  log.addEventListener("events", () => log.close());
  await until("it ends", () => log.endReason);
  for (let turn = 0; turn < 50; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(told.map(({ type, status }) => status ?? type), ["events", "ended", "end"]);
  assert.deepEqual(log.start, { after: "5-00000005" });

  const other = tailed();
  other.log.addEventListener("status", () => other.log.close());
  await until("it ends", () => other.log.endReason);
  assert.deepEqual(other.told.map(({ type, status }) => status ?? type), ["live", "ended", "end"]);
});

test("a tail that is closed before it has begun asks for nothing", async () => {
  const { log, server } = tailed();
  log.close();
  for (let turn = 0; turn < 50; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual([server.requests.length, log.start], [0, {}]);
});

test("a stream that is silent for three of the heartbeats that it has said is given up", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const hello = control({ type: "hello", resume: "ok", head: 4, resume_token: BEGIN, heartbeat: 4 });
  const events = [(request) => stream(hello + CAUGHT_UP, { ...request, staysOpen: true }), never];
  const { log, server, told } = tailed({ events });
  await until("it is live", () => log.status === "live");
  const after = async (ms) => {
    t.mock.timers.tick(ms);
    for (let turn = 0; turn < 50; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    return log.status;
  };
  assert.equal(await after(11_999), "live");
  assert.equal(await after(1), "waiting");
  assert.equal(server.requests[0].signal.aborted, true);
  assert.match(told.at(-1).error.message, /silent/);
  // The next one has not said it yet.
  await after(500);
  assert.equal(server.requests.length, 2);
  assert.equal(await after(44_999), "connecting");
  assert.equal(await after(1), "waiting");
});
