// The steps of scenarios that are about tails.

import assert from "node:assert/strict";

import { until } from "./until.js";

export const TAIL_STEPS = {
  async tail({ server, users, driver, tails }, { tail, as, start = {}, filters, transport }) {
    const user = users[as];
    const how = { url: server.url, user, start, transport, ...(filters && { filters }) };
    const reader = (tails[tail] = { user, ...(await driver.tail(how)) });
    // What happens from here on is live.
    await until(`${tail} has caught up`, async () => (await reader.look()).caughtUps > 0);
  },
  async tailed({ tails }, { tail, shown: wanted }) {
    let shown;
    const isAll = async () => ({ shown } = await tails[tail].look()).shown.length >= wanted.length;
    await until(() => `${tail} is told of ${JSON.stringify(shown)}`, isAll);
    assert.deepEqual(shown, wanted);
  },
  async tail_ended({ tails }, { tail, reason }) {
    assert.equal(await endOf(tail, tails[tail]), reason);
  },
  async tail_return({ server, tails }, { tail }) {
    await endOf(tail, tails[tail]);
    await server.login(tails[tail].user);
    await tails[tail].comeBack();
  },
};

/** Why it has ended, as soon as it has. */
async function endOf(tail, reader) {
  let endReason;
  await until(`${tail} goes on`, async () => ({ endReason } = await reader.look()).endReason);
  return endReason;
}
