// Prints the data of every event of a stream, for ever: Node's eventsource, which reconnects and resumes by itself.

import { createRequire } from "node:module";

const { EventSource } = createRequire(import.meta.url)(process.env.EVENTSOURCE);
const [url, token] = process.argv.slice(2);

const source = new EventSource(url, {
  fetch: (input, init) =>
    fetch(input, { ...init, headers: { ...init.headers, Authorization: `Bearer ${token}` } }),
});

for (const type of ["user", "channel", "message"]) {
  source.addEventListener(type, (event) => console.log(event.data));
}

source.addEventListener("error", (event) => console.error(event.message ?? "disconnected"));
