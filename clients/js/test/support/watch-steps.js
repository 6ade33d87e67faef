// The steps of scenarios that are about watches.

import assert from "node:assert/strict";

import { until } from "./until.js";

export const WATCH_STEPS = {
  async watch({ server, users, driver, watches }, { watch, as, channels, transport, anew_every_s: anew }) {
    const user = users[as];
    const how = { url: server.url, user, channels, transport, ...(anew && { anewEveryMs: anew * 1000 }) };
    watches[watch] = { user, program: await driver.watch(how) };
  },
  async told({ server, watches }, { watch, channel }) {
    const { user, program } = watches[watch];
    const { channels } = await server.api(user.token).call("GET", "/api/channels");
    const newest = channels.find(({ id }) => id === channel).last_offset;
    let told;
    const isTold = async () => (told = (await program.look()).told[channel])?.at(-1) === newest;
    await until(() => `${watch} is told ${newest} of ${channel}, not ${told}`, isTold);
  },
  async told_times({ watches }, { watch, channel, times }) {
    let told;
    const look = async () => (told = (await watches[watch].program.look()).told[channel] ?? []).length >= times;
    await until(() => `${watch} is told of ${channel}: ${told}`, look);
    assert.equal(told.length, times, `${told}`);
  },
  async told_gone({ watches }, { watch, channel, why }) {
    let gone;
    await until(`${channel} is gone`, async () => (gone = (await watches[watch].program.look()).gone[channel]));
    assert.equal(gone, why);
  },
  async told_elsewhere({ watches }, { watch, reason }) {
    let elsewhere;
    await until("it says so", async () => ({ elsewhere } = await watches[watch].program.look()).elsewhere.length);
    assert.deepEqual(elsewhere, [reason]);
  },
  async caught_up({ watches }, { watch, times }) {
    await until(`${watch} has caught up`, async () => (await watches[watch].program.look()).caughtUps >= times);
  },
  async watch_ended({ watches }, { watch, reason }) {
    let endReason;
    await until(`${watch} goes on`, async () => ({ endReason } = await watches[watch].program.look()).endReason);
    assert.equal(endReason, reason);
  },
  async check({ watches }, { watch }) {
    const { program } = watches[watch];
    // Whoever is told that it was not answered asks again.
    await until("a check is answered", async () => (await program.check()) || (await program.look()).endReason);
  },
  async replace({ watches }, { watch, by, channels }) {
    const { user, program } = watches[watch];
    watches[by] = { user, program: await program.replace(channels) };
  },
  unwatch: ({ watches }, { watch }) => watches[watch].program.unwatch(),
  leave: ({ watches }, { watch }) => watches[watch].program.leave(),
  async return({ server, watches }, { watch }) {
    const { user, program } = watches[watch];
    await server.login(user);
    await program.comeBack();
  },
};
