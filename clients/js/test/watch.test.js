import assert from "node:assert/strict";
import { test } from "node:test";

import { watch } from "../index.js";
import { control, problem } from "./support/fake.js";
import { until } from "./support/until.js";
import { NEVER, Watching, listen, watched } from "./support/watching.js";

const TRANSPORTS = ["sse", "poll"];

/** Lets everything happen that can without time passing. */
async function settle() {
  for (let turn = 0; turn < 50; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

const news = (told) => told.filter((one) => one !== "caught up");
const caughtUp = (told, times = 1) => until("it has caught up", () => told.length - news(told).length >= times);

/** A watch that has caught up. */
async function live(newest, options) {
  const server = new Watching(newest);
  const made = watched(watch, server, options);
  await caughtUp(made.told);
  return { server, ...made };
}

for (const transport of TRANSPORTS) {
  test(`by ${transport} whoever watches is told what is newer than what they know, and then what changes`, async () => {
    const channels = ["A", { id: "B", since: 5 }, { id: "C", since: 6 }, "D"];
    const options = { channels, transport, maxDelayMs: 40, leaseMs: 60_500 };
    const { server, list, told } = await live({ A: 3, B: 5, C: 7 }, options);
    assert.deepEqual(news(told), ["A 3", "C 7", "D not_found"]);
    const watch = [{ id: "A" }, { id: "B", since: 5 }, { id: "C", since: 6 }, { id: "D" }];
    assert.deepEqual(server.requests[0].body, { watch, max_delay_ms: 40, lease_s: 60 });
    assert.equal(server.requests[0].headers.authorization, "Bearer t");
    for (const channel of ["B", "A", "B"]) {
      const offset = server.change(channel);
      await until("it is told", () => told.at(-1) === `${channel} ${offset}`);
    }
    list.close();
    assert.deepEqual(list.known.channels, [{ id: "A", since: 9 }, { id: "B", since: 10 }, { id: "C", since: 7 }]);
    assert.equal(list.known.place, "10-00000000");
  });

  test(`by ${transport} a server that begins anew is asked with what was told, and nothing is lost or told twice`, async () => {
    const { server, list, told } = await live({ A: 1, B: 2, C: 3 }, { channels: ["A", "B", "C"], transport });
    server.isMute = true;
    const offset = server.change("B");
    server.restart();
    delete server.newest.C;
    await caughtUp(told, 2);
    list.close();
    assert.deepEqual(news(told), ["A 1", "B 2", "C 3", `B ${offset}`, "C not_found"]);
    const since = [{ id: "A", since: 1 }, { id: "B", since: 2 }, { id: "C", since: 3 }];
    assert.deepEqual(server.asked("PUT").map(({ body }) => body.watch).at(-1), since);
    assert.equal(server.asked("PUT").length, 2);
  });

  test(`by ${transport} with a server that drops every notice nobody is later than the interval`, async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    const interval = 60_000;
    const STEP_MS = 500;
    const server = new Watching({ A: 1, B: 2 });
    server.isMute = true;
    server.heartbeat = 3_600;
    const { list, told } = watched(watch, server, { channels: ["A", "B"], transport, anewEveryMs: interval });
    await settle();
    assert.deepEqual(news(told), ["A 1", "B 2"]);
    const pass = async (ms) => {
      for (let passed = 0; passed < ms; passed += STEP_MS) {
        t.mock.timers.tick(STEP_MS);
        await settle();
      }
    };
    for (let round = 0; round < 12; round += 1) {
      // At any time between two settings.
      await pass((interval * round) / 9);
      const channel = "AB"[round % 2];
      const notice = `${channel} ${server.change(channel)}`;
      assert.equal(told.includes(notice), false);
      let waited = 0;
      for (; !told.includes(notice) && waited <= 2 * interval; waited += STEP_MS) await pass(STEP_MS);
      assert.ok(waited <= interval, `${waited}`);
    }
    list.close();
  });

  for (const [known, resume, reason] of [[NEVER, "ok", "ahead"], [12, "other_history", "other_history"]]) {
    test(`by ${transport} whoever knows what is of another log is told ${reason}, and then of every channel`, async () => {
      const server = new Watching({ A: 10, B: 12 });
      server.resume = resume;
      const channels = [{ id: "A", since: known }, { id: "B", since: 12 }];
      const { list, told } = watched(watch, server, { channels, transport, place: "9-00000000" });
      await caughtUp(told);
      list.close();
      assert.deepEqual(news(told), [reason, "A 10", "B 12"]);
      assert.deepEqual(server.asked("PUT").at(-1).body.watch, [{ id: "A" }, { id: "B" }]);
    });
  }

  test(`by ${transport} a watch that somebody else sets is set again, but not over and over`, async (t) => {
    // Before it is made, or what it has begun by the real clock could not be stopped by this one.
    t.mock.timers.enable({ apis: ["setTimeout"] });
    const server = new Watching({ A: 1 });
    const { list, told } = watched(watch, server, { channels: ["A"], transport });
    for (let passed = 0; !told.includes("caught up") && passed < 30_000; passed += 100) {
      t.mock.timers.tick(100);
      await settle();
    }
    const waits = [];
    list.addEventListener("status", ({ detail }) => detail.ms && waits.push(detail.ms));
    const bye = control({ type: "bye", reason: "replaced", offset: 1 });
    for (let turn = 0; waits.length < 8 && turn < 5_000; turn += 1) {
      if (list.status === "live") {
        // Another program sets it as soon as this one is back.
        server.set = server.epoch += 1;
        server.streams.at(-1)?.say(bye);
      }
      t.mock.timers.tick(100);
      await settle();
    }
    list.close();
    assert.ok(waits.length === 8 && waits[7] > waits[0] * 16, `${waits}`);
  });
}

test("nothing comes through an old watch after it is replaced, whatever its server goes on to send", async () => {
  const { server, list: old, told } = await live({ A: 1, B: 2, C: 3 }, { channels: ["A", "B"] });
  const [stream] = server.streams;
  const keepSending = () => {
    // Under its own epoch, and under those that were not given yet.
    for (let epoch = 1; epoch < 6; epoch += 1) {
      server.tell(epoch, [{ id: "A", offset: NEVER }, { id: "B", offset: NEVER }, { id: "C", gone: "deleted" }], [stream]);
    }
  };
  // It has sent more, which is read already or not.
  keepSending();
  server.before = keepSending;
  const before = told.length;
  const next = old.replace(["B", "C"]);
  const toldNext = [];
  listen(next, toldNext);
  keepSending();
  await until("the new one has caught up", () => toldNext.includes("caught up"));
  keepSending();
  await settle();
  next.close();
  assert.equal(told.length - before, 0);
  assert.equal(old.endReason, "replaced");
  assert.deepEqual(news(toldNext), ["C 3"]);
  assert.deepEqual(server.asked("PUT").at(-1).body.watch, [{ id: "B", since: 2 }, { id: "C" }]);
  assert.throws(() => old.replace([]), /replaced/);
});

test("the old watch has ended before the server is asked for the new one", async () => {
  const { server, list: old } = await live({ A: 1 }, { channels: ["A"] });
  const seen = [];
  old.addEventListener("end", () => seen.push(`ended, asked ${server.asked("PUT").length}`));
  const next = old.replace(["A"]);
  assert.deepEqual(seen, ["ended, asked 1"]);
  await until("it is set", () => server.asked("PUT").length === 2);
  next.close();
});

test("nothing comes through a watch after it is ended, and the server is asked after that", async () => {
  const { server, list, told } = await live({ A: 1 }, { channels: ["A"] });
  const before = told.length;
  server.before = ({ method }) => {
    assert.deepEqual([method, list.endReason], ["DELETE", "unwatched"]);
    server.tell(1, [{ id: "A", offset: NEVER }]);
  };
  server.tell(1, [{ id: "A", offset: NEVER }]);
  await list.unwatch();
  server.tell(1, [{ id: "A", offset: NEVER }]);
  await settle();
  assert.equal(told.length - before, 0);
  assert.equal(server.asked("DELETE")[0].path, "/api/watch/w");
  assert.equal(server.set, undefined);
});

test("nothing comes of a stream whose watch was set anew, whatever its server goes on to send", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const server = new Watching({ A: 1 });
  const { list, told } = watched(watch, server, { channels: ["A"], anewEveryMs: 60_000 });
  await settle();
  const [stream] = server.streams;
  t.mock.timers.tick(60_000);
  await settle();
  for (const epoch of [1, 2, 3]) server.tell(epoch, [{ id: "A", offset: NEVER }], [stream]);
  await settle();
  server.change("A");
  await settle();
  list.close();
  assert.deepEqual(news(told), ["A 1", "A 2"]);
  assert.equal(server.asked("PUT").length, 2);
});

test("a straggler of another epoch is dropped", async () => {
  const { server, list, told } = await live({ A: 1 }, { channels: ["A"] });
  const next = list.replace(["A"]);
  listen(next, told);
  await caughtUp(told, 2);
  server.tell(1, [{ id: "A", offset: NEVER }]);
  server.tell(1, [{ id: "A", gone: "deleted" }]);
  server.tell(3, [{ id: "A", offset: NEVER }]);
  server.streams[1].say("id: 1.1000-00000000\nevent: checkpoint\ndata: {}\n\n");
  server.tell(2, [{ id: "A", offset: 9 }]);
  await until("it is told", () => told.includes("A 9"));
  next.close();
  assert.deepEqual(news(told), ["A 1", "A 9"]);
  assert.equal(next.known.place, "9-00000000");
});

test("a stream of another setting is not read", async () => {
  const server = new Watching({ A: 1 });
  // A request of our own that was given up is carried out late, between the setting and its stream.
  server.before = ({ method }) => {
    if (method === "GET" && server.epoch === 1) server.set = server.epoch = 77;
  };
  const { list, told } = watched(watch, server, { channels: ["A"] });
  await caughtUp(told);
  list.close();
  assert.equal(server.set, 78);
});

test("whenever a watch is replaced, what comes is told once, by the old one before or by the new one after", async () => {
  let byTheOldOne = 0;
  for (let turns = 0; turns < 60; turns += 1) {
    const { server, list, told } = await live({ A: 1 }, { channels: ["A"] });
    server.change("A");
    for (let turn = 0; turn < turns; turn += 1) await null;
    const before = told.length;
    const next = list.replace(["A"]);
    const toldNext = [];
    listen(next, toldNext);
    await caughtUp(toldNext);
    next.close();
    assert.equal(told.length - before, 0, `after ${turns} turns`);
    assert.deepEqual(news([...told, ...toldNext]), ["A 1", "A 2"], `after ${turns} turns`);
    byTheOldOne += news(told).length - 1;
  }
  assert.ok(byTheOldOne > 0 && byTheOldOne < 60, `${byTheOldOne} of 60 times by the old one`);
});

test("who closes a watch while being told of it knows no more than that", async () => {
  const { list, told } = watched(watch, new Watching({ A: 1 }), { channels: ["A", "C"] });
  list.addEventListener("changed", () => list.close());
  await until("it is closed", () => list.endReason);
  assert.deepEqual(told, ["A 1"]);
  assert.deepEqual(list.known.channels, [{ id: "A", since: 1 }, { id: "C" }]);
});

test("who replaces a watch while being told of it loses nothing", async () => {
  const server = new Watching({ A: 1, B: 2 });
  const { list, told } = watched(watch, server, { channels: ["A", "B", "C"] });
  let next;
  list.addEventListener("changed", () => {
    next = list.replace(["A", "B", "C"]);
    listen(next, told);
  });
  await caughtUp(told);
  next.close();
  assert.deepEqual(news(told), ["A 1", "B 2", "C not_found"]);
  assert.equal(server.asked("GET").length, 1, "the old one read nothing any more");
});

test("a server that never knows what was set is not asked over and over", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const server = new Watching({ A: 1 });
  server.before = ({ method }) => (method === "GET" ? problem(404, "unknown_watch") : undefined);
  const { list } = watched(watch, server, { channels: ["A"] });
  for (let second = 0; second < 60; second += 1) {
    await settle();
    t.mock.timers.tick(1000);
  }
  list.close();
  assert.ok(server.requests.length < 30, `${server.requests.length}`);
});

test("a stream that is silent for some heartbeats is opened again where it was", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const server = new Watching({ A: 1 });
  server.heartbeat = 20;
  const { list, told } = watched(watch, server, { channels: ["A"] });
  const waits = [];
  list.addEventListener("status", ({ detail }) => detail.ms && waits.push(detail.error.message));
  await settle();
  server.change("A");
  await settle();
  t.mock.timers.tick(59_999);
  await settle();
  assert.deepEqual([waits, news(told)], [[], ["A 1", "A 2"]]);
  t.mock.timers.tick(1);
  await settle();
  t.mock.timers.tick(2000);
  await settle();
  list.close();
  assert.match(waits[0], /silent/);
  assert.equal(server.asked("GET")[1].query.get("resume_point"), "1.2-00000000");
  assert.equal(server.asked("PUT").length, 1, "the setting was there all the time");
});

for (const transport of [...TRANSPORTS, "manual"]) {
  test(`by ${transport} a server that has begun anew must show that its log is the one that was told of`, async () => {
    const { server, list, told } = await live({ A: 10 }, { channels: ["A"], transport });
    server.change("A");
    await list.check();
    const compared = () => server.requests.filter(({ path }) => path.startsWith("/api/events"));
    assert.equal(compared().length, 0, "there was no doubt");
    server.resume = "other_history";
    server.restart();
    if (transport === "manual") await list.check();
    await until("it has noticed", () => news(told).length === 4);
    list.close();
    assert.deepEqual(news(told), ["A 10", "A 11", "other_history", "A 11"]);
    const [{ path, query }] = compared();
    assert.equal(path, "/api/events/poll");
    assert.match(query.get("after"), /^1[01]-00000000$/);
    // Behind the place there may be more than a bad connection carries, and nobody wants it.
    assert.equal(query.get("limit"), "1");
  });
}

test("so must a server that was away when the watch was to be set anew", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const server = new Watching({ A: 10 });
  const { list, told } = watched(watch, server, { channels: ["A"], anewEveryMs: 60_000 });
  await settle();
  server.change("A");
  await settle();
  let refusals = 1;
  server.before = ({ method }) => (method === "PUT" && (refusals -= 1) >= 0 ? problem(503, "starting") : undefined);
  server.resume = "other_history";
  for (let second = 0; second < 62; second += 1) {
    t.mock.timers.tick(1000);
    await settle();
  }
  list.close();
  assert.deepEqual(news(told), ["A 10", "A 11", "other_history", "A 11"]);
});

test("by hand nothing is asked for until it is checked, and then once, without waiting", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const server = new Watching({ A: 1 });
  const { list, told } = watched(watch, server, { channels: ["A"], transport: "manual" });
  await settle();
  assert.deepEqual([told, list.status], [["A 1", "caught up"], "live"]);
  server.change("A");
  t.mock.timers.tick(100_000);
  await settle();
  assert.equal(server.requests.length, 1, "it was set, and that was all");
  await list.check();
  assert.deepEqual(told.slice(2), ["A 2", "caught up"]);
  const [asked] = server.asked("GET");
  assert.deepEqual([asked.path, `${asked.query}`], ["/api/watch/w/changes", "wait=0"]);
  // Its lease has ended meanwhile.
  server.restart();
  server.change("A");
  await list.check();
  assert.deepEqual([news(told).at(-1), server.asked("PUT").length], ["A 3", 2]);
  // A setting that is not relied upon any more is set anew.
  t.mock.timers.tick(3_600_000);
  await settle();
  assert.equal(server.asked("PUT").length, 2);
  server.change("A");
  await list.check();
  assert.deepEqual([news(told).at(-1), server.asked("PUT").length], ["A 4", 3]);
  list.close();
  await assert.rejects(list.check(), /closed/);
});

test("whoever has a stream can check beside it", async () => {
  const { server, list, told } = await live({ A: 1 }, { channels: ["A"] });
  server.change("A");
  await until("it is told", () => told.includes("A 2"));
  // What was lost is behind where the reader stands by now.
  server.isMute = true;
  server.change("A");
  server.streams[0].say("id: 1.9-00000000\nevent: checkpoint\ndata: {}\n\n");
  await until("it stands there", () => list.known.place === "9-00000000");
  server.isMute = false;
  await list.check();
  assert.equal(news(told).at(-1), "A 3");
  server.change("A");
  await until("the stream goes on", () => news(told).at(-1) === "A 4");
  list.close();
  assert.equal(server.asked("GET", "/events").length, 1);
});

test("a check that is overtaken by a replacement tells nothing", async () => {
  const { server, list, told } = await live({ A: 1 }, { channels: ["A"] });
  server.isMute = true;
  server.change("A");
  server.isMute = false;
  let next;
  server.before = ({ path }) => {
    if (path.endsWith("/changes")) next = list.replace(["A"]);
  };
  const before = told.length;
  await assert.rejects(list.check(), /replaced/);
  assert.equal(told.length - before, 0);
  listen(next, told);
  await until("the new one tells it", () => told.includes("A 2"));
  next.close();
});

test("a check does not wait for the next try, and says so when that fails", async (t) => {
  const server = new Watching({ A: 1 });
  let isAway = true;
  server.before = () => (isAway ? problem(503, "busy", { "retry-after": "100" }) : undefined);
  const { list, told } = watched(watch, server, { channels: ["A"] });
  await until("it waits", () => list.status === "waiting");
  await assert.rejects(list.check(), (error) => error.code === "busy");
  isAway = false;
  await list.check();
  list.close();
  assert.equal(told[0], "A 1");
});

for (const how of ["end", "break"]) {
  test(`after the ${how} of a stream a watch waits at least as long as the server has asked`, async () => {
    const server = new Watching({ A: 1 });
    const { list } = watched(watch, server, { channels: ["A"] });
    const waits = [];
    list.addEventListener("status", ({ detail: { ms } }) => ms && waits.push(ms));
    await until("it is live", () => list.status === "live");
    // What it cannot have any more is not ended by the test's own end.
    server.streams.pop()[how]();
    await until("it waits", () => waits.length);
    list.close();
    assert.deepEqual(waits, [1000]);
  });
}

test("polls keep the pause between notices that a stream would have", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const server = new Watching({ A: 1 });
  const { list, told } = watched(watch, server, { channels: ["A"], transport: "poll", maxDelayMs: 2000 });
  await settle();
  server.change("A");
  server.change("A");
  t.mock.timers.tick(1999);
  await settle();
  assert.deepEqual(news(told), ["A 1"]);
  t.mock.timers.tick(1);
  await settle();
  list.close();
  assert.deepEqual(news(told), ["A 1", "A 3"]);
});

for (const [status, code, reason] of [[401, "unauthenticated", "unauthenticated"], [400, "bad_watch", "refused"]]) {
  test(`after ${code} it is over for good, and what is known stays`, async () => {
    const { server, list } = await live({ A: 1 }, { channels: ["A"] });
    const ends = [];
    list.addEventListener("end", ({ detail }) => ends.push([detail.reason, detail.error.code]));
    server.before = ({ method }) => (method === "PUT" ? problem(status, code) : undefined);
    server.restart();
    await until("it ends", () => list.endReason);
    assert.deepEqual(ends, [[reason, code]]);
    assert.deepEqual([list.status, list.known.channels], ["ended", [{ id: "A", since: 1 }]]);
    await assert.rejects(list.unwatch(), /ended/);
  });
}

test("a goodbye to somebody who is nobody any more is the end; other ones are come back from", async () => {
  const { server, list, told } = await live({ A: 1 }, { channels: ["A"] });
  server.streams[0].say(control({ type: "bye", reason: "shutdown", offset: 1 }));
  await caughtUp(told, 2);
  server.streams[1].say(control({ type: "bye", reason: "revoked", code: "unauthenticated", offset: 1 }));
  await until("it ends", () => list.endReason);
  assert.equal(list.endReason, "unauthenticated");
});

test("a transport that no watch has is refused, and every watch has a name", () => {
  assert.throws(() => watch({ url: "http://chat.example", channels: [], transport: "ws" }), /ws/);
  const made = [1, 2].map(() => watch({ url: "http://chat.example", channels: [], fetch: async () => problem(503, "busy") }));
  for (const list of made) list.close();
  assert.match(made[0].name, /^[0-9a-f]{32}$/);
  assert.notEqual(made[0].name, made[1].name);
});
