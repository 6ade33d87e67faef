// What the test calls in a page. Identity is the page's cookie, the server is the page's origin.

import { boot, connect, tail, watch } from "../../index.js";
import { plain } from "../support/plain.js";
import { programOf } from "../support/program.js";
import { tailProgramOf } from "../support/tail-program.js";

let client;
/** The programs that watch or read a tail, by the names that the test has for them. */
const programs = {};

window.driver = {
  async connect(transport) {
    client = connect({ transport, messages: 500 });
    await client.ready;
  },
  send: (channel, body, key) => client.send(channel, body, { key }),
  look: () => ({ state: plain(client.state), boots: client.boots, endReason: client.endReason }),
  renew: () => client.renew(),
  watch(name, { channels, ...options }) {
    programs[name] = programOf((known) => watch({ ...options, ...known }), { channels });
  },
  replace(name, by, channels) {
    programs[by] = programs[name].replace(channels);
  },
  tail(name, { start, ...options }) {
    programs[name] = tailProgramOf((start) => tail({ ...options, ...start }), start);
  },
  /** Lets a program do something that it does. */
  program: (name, method) => programs[name][method](),
  boot: async () => plain(await boot({ messages: 500 })),
};
