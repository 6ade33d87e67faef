import assert from "node:assert/strict";
import { test } from "node:test";

import { Book } from "../src/watch/book.js";
import { Forwarder, Setting, reliedUponMs } from "../src/watch/setting.js";

const at = (id, offset) => ({ id, offset });
const changed = (book, id, offset) => book.tellChanged([at(id, offset)]).length > 0;

test("what is not newer than what was told is not told", () => {
  const book = new Book(["A", { id: "B", since: 7 }]);
  assert.deepEqual(book.tellChanged([at("A", 3), at("B", 7), at("C", 9)]), [{ channel: "A", offset: 3 }]);
  for (const offset of [3, 2, 0, undefined]) assert.equal(changed(book, "A", offset), false);
  assert.equal(changed(book, "A", 4), true);
  assert.equal(changed(book, "B", 8), true);
  assert.deepEqual(book.channels, [{ id: "A", since: 4 }, { id: "B", since: 8 }]);
});

test("what is gone is told once and never again", () => {
  const book = new Book(["A"]);
  const gone = [{ id: "A", gone: "deleted" }];
  assert.deepEqual(book.tellChanged(gone), []);
  assert.deepEqual(book.tellGone(gone), [{ channel: "A", why: "deleted" }]);
  assert.deepEqual(book.tellGone(gone), []);
  assert.equal(changed(book, "A", 9), false);
  assert.deepEqual(book.channels, []);
});

test("another set keeps what was told of the channels that stay unless the program says otherwise", () => {
  const book = new Book(["A", "B", "C"], "9-00000000");
  for (const id of ["A", "B", "C"]) changed(book, id, 5);
  const next = book.replacedBy(["A", { id: "B", since: 2 }, "D"]);
  assert.deepEqual(next.channels, [{ id: "A", since: 5 }, { id: "B", since: 2 }, { id: "D" }]);
  assert.equal(next.place, "9-00000000");
  assert.equal(changed(next, "C", 6), false);
  assert.equal(changed(next, "B", 5), true);
});

test("a log that is another one shows by what goes back or is not there", () => {
  // Known up to the offset of a whole state, which is beyond the channel's newest record: that is no contradiction.
  const book = new Book([{ id: "A", since: 20 }, "B"]);
  const stands = (offset) => book.contradicted({ A: { ok: true, offset } });
  assert.equal(stands(12), undefined);
  changed(book, "A", 12);
  assert.equal(stands(12), undefined);
  assert.equal(stands(11), "other_history");
  const ahead = { ok: false, code: "ahead" };
  assert.equal(book.contradicted({ A: ahead }), "ahead");
  assert.equal(book.contradicted({ B: ahead }), undefined);
  assert.equal(book.contradicted({ A: { ok: false, code: "not_found" } }), undefined);
  book.forget();
  assert.equal(stands(11), undefined);
  assert.equal(changed(book, "A", 11), true);
});

test("nothing passes a forwarder that is revoked", () => {
  const passed = [];
  const forwarder = new Forwarder((...notice) => passed.push(notice));
  forwarder.tell("changed", 1);
  forwarder.revoke();
  forwarder.tell("changed", 2);
  assert.deepEqual(passed, [["changed", 1]]);
});

test("a setting that is dropped tells nothing more, hangs up, and is not due any more", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const passed = [];
  const due = [];
  const setting = new Setting({ epoch: 7, max_delay_ms: 250 }, new Forwarder((type) => passed.push(type)), 1000, () => due.push(1));
  assert.equal(setting.standAt("6.9-00000000"), undefined);
  assert.equal(setting.after, undefined);
  assert.equal(setting.standAt("7.9-00000000"), "9-00000000");
  setting.tell("one");
  setting.drop();
  setting.tell("two");
  t.mock.timers.tick(5000);
  await setting.dropped;
  assert.deepEqual([passed, due, setting.signal.aborted], [["one"], [], true]);
});

test("settings are relied upon for the interval at most, and not all for as long", () => {
  assert.equal(reliedUponMs(300_000, () => 0), 300_000);
  assert.equal(reliedUponMs(300_000, () => 1), 225_000);
  // A timer of more than 31 bits would ring at once.
  assert.equal(reliedUponMs(Infinity, () => 0), 2 ** 31 - 1);
});
