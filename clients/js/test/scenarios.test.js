// The scenarios that all clients run, with this library in Node. Its WebSocket is Node's own, which Node 20 gives for
// --experimental-websocket.

import { readFile } from "node:fs/promises";
import { describe, test } from "node:test";

import { boot, connect, tail, watch } from "../index.js";
import { plain } from "./support/plain.js";
import { programOf } from "./support/program.js";
import { LANES, runScenario } from "./support/scenario.js";
import { BINARY } from "./support/server.js";
import { tailProgramOf } from "./support/tail-program.js";

const { scenarios } = JSON.parse(await readFile(new URL("../../scenarios.json", import.meta.url)));

const driver = {
  identify: ({ token }) => ({ authorization: `Bearer ${token}` }),
  async connect({ url, user, transport }) {
    const options = { url, token: user.token, transport, messages: 500 };
    const client = connect(options);
    await client.ready;
    return {
      send: (channel, body, key) => client.send(channel, body, { key }),
      look: async () => ({ state: plain(client.state), boots: client.boots, endReason: client.endReason }),
      boot: async () => plain(await boot(options)),
      async renew() {
        options.token = user.token;
        client.renew(user.token);
      },
      close: async () => client.close(),
    };
  },
  // A program in this process is what the steps ask of.
  watch: async ({ url, user, channels, ...options }) =>
    programOf((known) => watch({ url, token: user.token, ...options, ...known }), { channels }),
  tail: async ({ url, user, start, ...options }) =>
    tailProgramOf((start) => tail({ url, token: user.token, ...options, ...start }), start),
};

describe("scenarios", { concurrency: LANES }, () => {
  for (const scenario of scenarios) {
    const needsWebSocket = scenario.steps.some((step) => step.transport === "ws");
    const skip =
      (!BINARY && "SCROLLBACK_BIN names no server") ||
      (needsWebSocket && !globalThis.WebSocket && "this Node has no WebSocket without --experimental-websocket");
    test(scenario.name, { skip }, () => runScenario(scenario, driver));
  }
});
