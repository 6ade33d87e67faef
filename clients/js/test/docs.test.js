// The example of docs/clients.md, as it stands there.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { test } from "node:test";

import { BINARY, Server } from "./support/server.js";
import { until } from "./support/until.js";

const ROOT = new URL("../../../", import.meta.url);

test("the example of the documentation does what it says", { skip: !BINARY && "SCROLLBACK_BIN names no server" }, async () => {
  const [, example] = /```js\n(.*?)```/s.exec(await readFile(new URL("docs/clients.md", ROOT), "utf8"));
  const { server, ada } = await Server.setUp();
  let child;
  try {
    await server.api(ada.token).call("POST", "/api/channels", { body: { name: "general" } });
    const env = { ...process.env, SCROLLBACK_URL: server.url, SCROLLBACK_TOKEN: ada.token };
    const how = { env, cwd: fileURLToPath(ROOT), stdio: ["pipe", "pipe", "inherit"] };
    child = spawn(process.execPath, ["--input-type=module"], how);
    let said = "";
    child.stdout.on("data", (text) => (said += text));
    child.stdin.end(example);
    await until(() => `it said ${said}`, () => /^sent as M/m.test(said) && /^ada: hello$/m.test(said));
    assert.equal(child.exitCode, null, "it goes on");
  } finally {
    child?.kill("SIGKILL");
    await server.remove();
  }
});
