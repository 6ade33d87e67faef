// Runs a scenario of ../../../scenarios.json, the file that all of the clients run. What connects is given: the library in
// this process, or in a page of a browser.

import assert from "node:assert/strict";

import { Server } from "./server.js";
import { TAIL_STEPS } from "./tail-steps.js";
import { WATCH_STEPS } from "./watch-steps.js";
import { until } from "./until.js";

/**
 * @typedef {object} Driver
 * @property {(how: {url: string, user: object, transport: string}) => Promise<Handle>} connect
 * @property {(how: {url: string, user: object, channels: object[], transport: string}) => Promise<object>} watch gives what
 *   ./program.js has, with `close` if there is something to close.
 * @property {(how: {url: string, user: object, start: object, filters?: object[], transport: string}) => Promise<object>} tail
 *   gives what ./tail-program.js has, with `close` if there is something to close.
 * @property {(user: object) => object} identify the headers by which the runner is the same as the user's clients.
 *
 * @typedef {object} Handle what a step asks of a connected client.
 * @property {(channel: string, body: string, key?: string) => Promise<object>} send
 * @property {() => Promise<{state: object, boots: number, endReason?: string}>} look state as JSON, see plain.js.
 * @property {() => Promise<object>} boot a fresh boot of the same user, as JSON.
 * @property {() => Promise<void>} renew goes on with the user's new identity.
 * @property {() => Promise<void>} close
 */

/** How many scenarios run at once; most of their time they wait. */
export const LANES = 3;

export async function runScenario({ steps }, driver) {
  const { server, ada } = await Server.setUp();
  const run = { server, driver, users: { ada }, clients: {}, watches: {}, tails: {}, saved: { ada: ada.id }, pending: [] };
  try {
    for (const [number, step] of steps.entries()) {
      const take = STEPS[step.step];
      assert.ok(take, `no such step: ${step.step}`);
      try {
        await take(run, filled(step, run.saved));
      } catch (error) {
        error.message = `step ${number + 1}, ${JSON.stringify(step)}: ${error.message}`;
        throw error;
      }
    }
    await Promise.all(run.pending);
  } finally {
    for (const client of Object.values(run.clients)) await client.close();
    for (const { program } of Object.values(run.watches)) await (program.close ?? program.leave).call(program);
    for (const reader of Object.values(run.tails)) await (reader.close ?? reader.leave)();
    await server.remove();
  }
}

const CLIENT_STEPS = {
  async user({ server, users, saved }, { name }) {
    users[name] = await server.member(users.ada, name);
    saved[name] = users[name].id;
  },
  async call({ server, driver, users, saved }, { as, method, path, body, save }) {
    const headers = driver.identify(users[as]);
    keep(saved, save, await server.api().call(method, path, { body, headers }));
  },
  async connect({ server, users, driver, clients }, { client, as, transport }) {
    const user = users[as];
    clients[client] = { user, ...(await driver.connect({ url: server.url, user, transport })) };
  },
  async send({ clients, saved, pending }, { client, channel, body, key, save, background = false }) {
    const sent = clients[client].send(channel, body, key);
    if (!background) return keep(saved, save, await sent);
    // If it fails, that is told in the end; what it should have led to is waited for in vain before.
    sent.catch(() => {});
    pending.push(sent);
  },
  kill: ({ server }) => server.kill(),
  stop: ({ server }) => server.stop(),
  start: ({ server }, { options }) => server.start(options),
  backup: ({ server, users }, { file }) => server.backup(file, users.ada),
  async restore({ server, users }, { file }) {
    await server.restore(file);
    // Whoever runs the server has to log in as well; everybody else does so by `renew`.
    await server.login(users.ada);
  },
  async renew({ server, clients }, { client }) {
    await server.login(clients[client].user);
    await clients[client].renew();
  },
  async same_as_fresh_boot({ clients }, { client }) {
    let [state, fresh] = [];
    // A record that nobody is shown moves the head as well, so that only the states can be compared, not their offsets.
    const isSame = async () => {
      ({ state } = await clients[client].look());
      fresh = await clients[client].boot();
      return isEqual(state, fresh);
    };
    await until(() => difference(state, fresh), isSame);
  },
  async sees({ clients }, { client, channel, bodies }) {
    let seen;
    const isSeen = async () => {
      const { state } = await clients[client].look();
      seen = state?.messages[channel]?.map((message) => message.body);
      return isEqual(seen, bodies);
    };
    await until(() => `${client} sees ${JSON.stringify(seen)}`, isSeen);
  },
  async sees_not({ clients }, { client, channel }) {
    const isGone = ({ state }) => state && !state.channels.some(({ id }) => id === channel) && !state.messages[channel];
    await until(`${client} still sees ${channel}`, async () => isGone(await clients[client].look()));
  },
  async booted({ clients }, { client, times }) {
    let boots;
    const look = async () => ({ boots } = await clients[client].look()).boots >= times;
    await until(() => `${client} has booted ${boots} times`, look);
    assert.equal(boots, times);
  },
  async ended({ clients }, { client, reason }) {
    let endReason;
    await until(`${client} goes on`, async () => ({ endReason } = await clients[client].look()).endReason);
    assert.equal(endReason, reason);
  },
};

const STEPS = { ...CLIENT_STEPS, ...WATCH_STEPS, ...TAIL_STEPS };

function keep(saved, save = {}, answer) {
  for (const [name, field] of Object.entries(save)) saved[name] = answer[field];
}

/** The step with what was saved in the place of `$name`, in every string. */
function filled(value, saved) {
  if (Array.isArray(value)) return value.map((item) => filled(item, saved));
  if (value === null || typeof value !== "object") {
    return typeof value === "string" ? value.replace(/\$(\w+)/g, (whole, name) => saved[name] ?? whole) : value;
  }
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, key === "save" ? item : filled(item, saved)]),
  );
}

function isEqual(one, other) {
  try {
    assert.deepEqual(one, other);
    return true;
  } catch {
    return false;
  }
}

function difference(state, fresh) {
  try {
    assert.deepEqual(state, fresh);
  } catch (error) {
    return error.message;
  }
  return "nothing differs any more";
}
