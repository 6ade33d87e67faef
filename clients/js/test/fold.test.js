import assert from "node:assert/strict";
import { test } from "node:test";

import { fold, foldHistory, fromBoot, needOf } from "../src/fold.js";

const at = (offset) => `2026-01-01T00:00:00.${String(offset).padStart(6, "0")}Z`;
const event = (offset, type, kind, fields) => ({ offset, at: at(offset), type, event: kind, ...fields });
const said = (offset, body, more = {}) =>
  event(offset, "message", "sent", { id: `M${offset}`, channel: "C3", sender: "U1", body, ...more });
const opened = (offset, name, more = {}) =>
  event(offset, "channel", "created", { id: `C${offset}`, name, private: false, creator: "U1", ...more });

/** What bob sees: one channel with one message. */
const BOOT = fromBoot({
  user: { id: "U2", name: "bob", role: "member" },
  resume_point: 4,
  resume_token: "4-00000004",
  heartbeat: 15,
  users: [{ id: "U1", name: "ada", role: "owner" }, { id: "U2", name: "bob", role: "member" }],
  channels: [{ id: "C3", name: "general", at: at(3), private: false, creator: "U1", last_offset: 4, offset: 3 }],
  messages: [{ id: "M4", at: at(4), channel: "C3", sender: "U1", body: "first", offset: 4 }],
  truncated: false,
});

const bodies = (state, channel = "C3") => state.messages.get(channel)?.map((message) => message.body);

test("a user who is created or changed is in the state, without the fields that a boot has not", () => {
  const created = event(5, "user", "created", { id: "U5", name: "cid", role: "member", active: true });
  const changed = event(6, "user", "changed", { id: "U5", name: "cid", role: "moderator", active: false });
  assert.deepEqual(fold(BOOT, [created]).users.get("U5"), { id: "U5", name: "cid", role: "member" });
  assert.deepEqual([...fold(BOOT, [created, changed]).users.keys()], ["U1", "U2", "U5"]);
  assert.equal(fold(BOOT, [created, changed]).users.get("U5").role, "moderator");
});

test("a change of one's own role changes who one is", () => {
  const changed = event(5, "user", "changed", { id: "U2", name: "bob", role: "moderator", active: true });
  assert.equal(fold(BOOT, [changed]).user.role, "moderator");
});

test("a created channel is what a boot says of it", () => {
  assert.deepEqual(fold(BOOT, [opened(5, "new")]).channels.get("C5"), {
    id: "C5", name: "new", at: at(5), private: false, creator: "U1", last_offset: 5, offset: 5,
  });
  assert.deepEqual(bodies(fold(BOOT, [opened(5, "new")]), "C5"), []);
});

test("a deleted channel goes with its messages, an expired one too", () => {
  for (const reason of ["deleted", "expired"]) {
    const state = fold(BOOT, [event(5, "channel", "deleted", { id: "C3", by: null, reason }), said(6, "too late")]);
    assert.equal(state.channels.size, 0);
    assert.equal(state.messages.size, 0);
  }
});

test("a message is in its channel and moves the channel's newest offset", () => {
  const state = fold(BOOT, [said(5, "second")]);
  assert.deepEqual(state.messages.get("C3")[1], {
    id: "M5", at: at(5), channel: "C3", sender: "U1", body: "second", offset: 5,
  });
  assert.equal(state.channels.get("C3").last_offset, 5);
});

test("messages are in the order of time, then offset, whenever they were recorded", () => {
  const imported = (offset, time) =>
    said(offset, `of ${time}`, { at: at(time), sender: null, sender_name: "eve", recorded_at: at(offset) });
  const state = fold(BOOT, [said(5, "of 5"), imported(6, 1), imported(7, 4), imported(8, 1), imported(9, 4)]);
  assert.deepEqual(state.messages.get("C3").map(({ offset }) => offset), [6, 8, 4, 7, 9, 5]);
  assert.equal(state.messages.get("C3")[0].sender_name, "eve");
});

test("a deleted message goes, an expired one too, and its deletion is the channel's newest record", () => {
  for (const reason of ["deleted", "expired"]) {
    const gone = event(5, "message", "deleted", { id: "M4", channel: "C3", sender: "U1", by: null, reason });
    assert.deepEqual(bodies(fold(BOOT, [gone])), []);
    assert.equal(fold(BOOT, [gone]).channels.get("C3").last_offset, 5);
  }
});

test("the deletion of a message that is older than the state changes nothing else", () => {
  const gone = event(5, "message", "deleted", { id: "M0", channel: "C3", sender: "U1", by: null, reason: "expired" });
  assert.deepEqual(bodies(fold(BOOT, [gone])), ["first"]);
});

test("what comes without its text is not shown", () => {
  const masked = [said(5, "", { deleted_at: at(9) }), opened(6, "", { deleted_at: at(9) })];
  const state = fold(BOOT, masked);
  assert.deepEqual(bodies(state), ["first"]);
  assert.equal(state.channels.has("C6"), false);
  assert.equal(state.channels.get("C3").last_offset, 5);
});

test("a message that was deleted while the boot was made is not shown", () => {
  const { channels, users, ...rest } = BOOT;
  const message = { id: "M4", at: at(4), channel: "C3", sender: "U1", body: "", offset: 4, deleted_at: at(5) };
  const answer = { ...rest, channels: [...channels.values()], users: [...users.values()], messages: [message] };
  assert.deepEqual(bodies(fromBoot(answer)), []);
});

test("who is removed from a private channel sees it no more; others stay, and so does an owner", () => {
  const removed = (user) => event(5, "member", "removed", { channel: "C3", user, by: "U1" });
  assert.equal(fold(BOOT, [removed("U2")]).channels.has("C3"), false);
  assert.equal(fold(BOOT, [removed("U2")]).messages.has("C3"), false);
  assert.equal(fold(BOOT, [removed("U1")]).channels.has("C3"), true);
  const owner = { ...BOOT, user: { ...BOOT.user, role: "owner" } };
  assert.equal(fold(owner, [removed("U2")]).channels.has("C3"), true);
});

test("who joins a private channel needs its history, and nothing that came later is taken from it", () => {
  const joined = event(9, "member", "added", { channel: "C2", user: "U2", by: "U1", history_after: 1 });
  const need = { kind: "history", channel: "C2", after: 1, to: 9 };
  assert.deepEqual(needOf(BOOT.user, joined), need);
  assert.equal(needOf({ ...BOOT.user, role: "owner" }, joined), null);
  assert.equal(needOf({ ...BOOT.user, id: "U1" }, joined), null);
  const history = [
    opened(2, "secret", { private: true }),
    said(5, "before", { channel: "C2" }),
    event(6, "member", "added", { channel: "C2", user: "U2", by: "U1", history_after: 1 }),
    event(7, "member", "removed", { channel: "C2", user: "U2", by: "U1" }),
    said(10, "after", { channel: "C2" }),
  ];
  const state = foldHistory(fold(BOOT, [joined]), history);
  assert.deepEqual([...state.channels.keys()], ["C2", "C3"], "the older channel first");
  assert.deepEqual(bodies(state, "C2"), ["before"]);
  assert.equal(state.offset, 9);
});

test("who becomes an owner, or is one no more, needs everything anew; other roles need nothing", () => {
  const changed = (role) => event(5, "user", "changed", { id: "U2", name: "bob", role, active: true });
  assert.deepEqual(needOf(BOOT.user, changed("owner")), { kind: "boot" });
  assert.deepEqual(needOf({ ...BOOT.user, role: "owner" }, changed("member")), { kind: "boot" });
  assert.equal(needOf(BOOT.user, changed("moderator")), null);
  assert.equal(needOf({ ...BOOT.user, id: "U1" }, changed("owner")), null);
});

test("an event that comes twice is taken once", () => {
  const events = [said(5, "second"), said(6, "third")];
  const state = fold(BOOT, events, "6-00000006");
  assert.deepEqual(fold(state, events), state);
  assert.equal(state.token, "6-00000006");
});

test("a state that was given out never changes", () => {
  const before = structuredClone(BOOT);
  const middle = fold(BOOT, [said(5, "second"), opened(6, "new")]);
  const kept = structuredClone(middle);
  fold(middle, [
    said(7, "third"),
    said(8, "there", { channel: "C6" }),
    event(9, "message", "deleted", { id: "M4", channel: "C3", sender: "U1", by: "U1", reason: "deleted" }),
    event(10, "channel", "deleted", { id: "C6", by: "U1", reason: "deleted" }),
    event(11, "user", "changed", { id: "U2", name: "bob", role: "moderator", active: true }),
  ]);
  assert.deepEqual(BOOT, before);
  assert.deepEqual(middle, kept);
});

test("an event of a kind that is not known yet moves the state on and changes nothing", () => {
  const state = fold(BOOT, [event(5, "watch", "set", { id: "W5" })]);
  assert.deepEqual({ ...state, offset: 4 }, BOOT);
  assert.equal(state.offset, 5);
});
