// What the test calls in a page. Identity is the page's cookie, the server is the page's origin.

import { boot, connect } from "../../index.js";
import { plain } from "../support/plain.js";

let client;

window.driver = {
  async connect(transport) {
    client = connect({ transport, messages: 500 });
    await client.ready;
  },
  send: (channel, body, key) => client.send(channel, body, { key }),
  look: () => ({ state: plain(client.state), boots: client.boots, endReason: client.endReason }),
  renew: () => client.renew(),
  boot: async () => plain(await boot({ messages: 500 })),
};
