// Whatever has happened, an older boot and the events since are a fresh boot.

import assert from "node:assert/strict";
import { test } from "node:test";

import { boot, connect } from "../index.js";
import { take } from "../src/take.js";
import { RandomHistory } from "./support/history.js";
import { plain } from "./support/plain.js";
import { random } from "./support/random.js";
import { BINARY, Server } from "./support/server.js";
import { until } from "./support/until.js";

const SEEDS = (process.env.SCROLLBACK_JS_SEEDS ?? "1 2 3").split(" ").map(Number);
const STEPS = 240;
const BOOT_EVERY = 16;
const ALL = 500;

const skip = !BINARY && "SCROLLBACK_BIN names no server";

for (const seed of SEEDS) {
  test(`history ${seed}: every older boot and the events since are a fresh boot`, { skip }, async () => {
    const { server, ada } = await Server.setUp();
    try {
      const history = new RandomHistory(server, ada, random(seed));
      await history.begin();
      const older = [];
      for (let step = 0; step < STEPS; step += 1) {
        if (step % BOOT_EVERY === 0) {
          for (const user of history.users) older.push({ user, state: await boot(optionsOf(server, user)) });
        }
        await history.step();
      }
      let folded = 0;
      for (const { user, state } of older) {
        const fresh = await boot(optionsOf(server, user));
        const now = await caughtUp(server.api(user.token), state, fresh.offset, history.dice);
        if (!now) continue;
        folded += 1;
        assert.deepEqual(plain(now), plain(fresh), `${user.name} from ${state.offset}`);
      }
      assert.ok(folded > older.length / 2, "most of them were folded, not read anew");
    } finally {
      await server.remove();
    }
  });

  test(`history ${seed}: clients that follow it over kills are at a fresh boot in the end`, { skip }, async () => {
    const { server, ada } = await Server.setUp();
    const clients = [];
    try {
      const history = new RandomHistory(server, ada, random(seed));
      await history.begin();
      const transports = globalThis.WebSocket ? ["sse", "poll", "ws"] : ["sse", "poll"];
      for (const user of history.users) {
        for (const transport of transports) {
          const options = { ...optionsOf(server, user), transport };
          const client = connect(options);
          await client.ready;
          clients.push({ client, options, name: `${user.name} over ${transport}` });
        }
      }
      for (let step = 0; step < STEPS; step += 1) {
        await history.step();
        if (step % 100 !== 99) continue;
        await server.kill();
        await server.start();
      }
      for (const { client, options, name } of clients) {
        const fresh = plain(await boot(options));
        const isThere = () => {
          try {
            assert.deepEqual(plain(client.state), fresh);
            return true;
          } catch (error) {
            why = error.message;
          }
        };
        let why;
        await until(() => `${name}: ${why}`, isThere);
      }
    } finally {
      for (const { client } of clients) client.close();
      await server.remove();
    }
  });
}

const optionsOf = (server, { token }) => ({ url: server.url, token, messages: ALL });

/** The state after all events up to an offset, taken in batches of any size; nothing if it had to be read anew. */
async function caughtUp(api, state, to, dice) {
  let place = state.token;
  while (Number.parseInt(place, 10) < to) {
    const limit = 1 + dice(60);
    const page = await api.call("GET", `/api/events/poll?after=${place}&limit=${limit}`);
    state = await take(api, state, page.events, page.next);
    if (!state) return undefined;
    place = page.next;
  }
  return state;
}
