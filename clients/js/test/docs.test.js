// The examples of docs/clients.md, as they stand there.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { test } from "node:test";

import { BINARY, Server } from "./support/server.js";
import { until } from "./support/until.js";

const ROOT = new URL("../../../", import.meta.url);

/** Of each example in its order: what it says when it runs, and then when somebody says something in the channel. */
const EXAMPLES = {
  connect: [[/^sent as M/m, /^ada: hello$/m], [/^ada: more$/m]],
  tail: [[/^what follows is live$/m], [/^what follows is live\n\d+: message sent$/m]],
  watch: [[/^read C\w+ up to \d+$/m], [/^read C\w+ up to \d+\nread C\w+ up to \d+$/m]],
};
const texts = Array.from((await readFile(new URL("docs/clients.md", ROOT), "utf8")).matchAll(/```js\n(.*?)```/gs));
const skip = !BINARY && "SCROLLBACK_BIN names no server";

test("every example is run", () => assert.equal(texts.length, Object.keys(EXAMPLES).length));

for (const [number, [name, [first, then]]] of Object.entries(EXAMPLES).entries()) {
  test(`the example of ${name} does what the documentation says`, { skip }, async () => {
    const { server, ada } = await Server.setUp();
    let child;
    try {
      const call = (path, body) => server.api(ada.token).call("POST", path, { body });
      const channel = await call("/api/channels", { name: "general" });
      const env = { ...process.env, SCROLLBACK_URL: server.url, SCROLLBACK_TOKEN: ada.token };
      const how = { env, cwd: fileURLToPath(ROOT), stdio: ["pipe", "pipe", "inherit"] };
      child = spawn(process.execPath, ["--input-type=module"], how);
      let said = "";
      child.stdout.on("data", (text) => (said += text));
      child.stdin.end(texts[number][1]);
      await until(() => `it said ${said}`, () => first.every((line) => line.test(said)));
      await call(`/api/channels/${channel.id}`, { body: "more" });
      await until(() => `it said ${said}`, () => then.every((line) => line.test(said)));
      assert.equal(child.exitCode, null, "it goes on");
    } finally {
      child?.kill("SIGKILL");
      await server.remove();
    }
  });
}
