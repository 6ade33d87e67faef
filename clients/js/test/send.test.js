import assert from "node:assert/strict";
import { test } from "node:test";

import { Problem, Unanswered } from "../index.js";
import { waitMs } from "../src/backoff.js";
import { Api } from "../src/http.js";
import { send } from "../src/send.js";
import { fakeServer, json, problem } from "./support/fake.js";

const PATH = "/api/channels/C3";
const sender = (handlers) => {
  const server = fakeServer({ [PATH]: handlers });
  const api = new Api({ url: "http://chat.example", fetch: server.fetch });
  return { api, keys: () => server.requests.map(({ headers }) => headers["idempotency-key"]) };
};
const lost = () => Promise.reject(new TypeError("fetch failed"));
const done = () => json({ id: "M5" }, { status: 201 });

test("a send whose outcome is unknown is repeated under the same key until it is answered", async () => {
  const { api, keys } = sender([lost, () => problem(503, "outcome_unknown"), done]);
  assert.deepEqual(await send(api, "C3", "hi"), { id: "M5" });
  assert.equal(keys().length, 3);
  assert.equal(new Set(keys()).size, 1);
  assert.match(keys()[0], /^[0-9a-f]{32}$/);
});

test("every message has a key of its own, or the one that it was given", async () => {
  const { api, keys } = sender([done]);
  await send(api, "C3", "hi");
  await send(api, "C3", "hi");
  await send(api, "C3", "hi", { key: "mine" });
  assert.equal(new Set(keys()).size, 3);
  assert.equal(keys()[2], "mine");
});

test("a refusal is no reason to ask again", async () => {
  const { api, keys } = sender([() => problem(404, "not_found")]);
  await assert.rejects(send(api, "C3", "hi"), (error) => error instanceof Problem && error.code === "not_found");
  assert.equal(keys().length, 1);
});

test("a send ends when the sender's patience does, and tells under which key to ask", async () => {
  const { api, keys } = sender([lost]);
  const sent = send(api, "C3", "hi", { key: "k", patienceMs: 700 });
  await assert.rejects(sent, (error) => error instanceof Unanswered && error.key === "k");
  assert.ok(keys().length >= 2);
});

test("a send does not wait for a time that the server asks for beyond the sender's patience", async () => {
  const { api, keys } = sender([() => problem(503, "disk_full", { "retry-after": "60" })]);
  await assert.rejects(send(api, "C3", "hi", { patienceMs: 10_000 }), Unanswered);
  assert.equal(keys().length, 1);
});

test("the wait doubles up to a bound, is partly by chance, and never shorter than asked for", () => {
  const [least, most] = [() => 0, () => 1];
  assert.deepEqual([1, 2, 3, 7, 50].map((n) => waitMs(n, 0, most)), [500, 1000, 2000, 30_000, 30_000]);
  assert.deepEqual([1, 2, 3].map((n) => waitMs(n, 0, least)), [250, 500, 1000]);
  assert.equal(waitMs(1, 8000, least), 8000);
  assert.equal(waitMs(1, 1e9, least), 120_000);
});
