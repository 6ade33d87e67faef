// The scenarios in a real browser: a page of the server's own origin imports the library as it is, is somebody by cookie,
// and follows over its own WebSocket and its own fetch.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { test } from "node:test";

import { LANES, runScenario } from "./support/scenario.js";
import { BINARY } from "./support/server.js";

/** Where playwright-core is installed, and which browser it drives. */
const { PLAYWRIGHT, CHROMIUM = "/usr/bin/chromium" } = process.env;
const LIBRARY = new URL("../", import.meta.url);
const DRIVER = "/clients/js/test/browser/driver.js";

const { scenarios } = JSON.parse(await readFile(new URL("../../scenarios.json", import.meta.url)));

/** The library comes from this directory, all else from the server: one origin, as it would be installed. */
async function serveLibrary(context) {
  await context.route("**/clients/js/**", async (route) => {
    const path = new URL(route.request().url()).pathname.slice("/clients/js/".length);
    const body = await readFile(new URL(path, LIBRARY));
    await route.fulfill({ body, contentType: "text/javascript" });
  });
}

/** A page of the server's own in which somebody is logged in; what it calls in ./browser/driver.js. */
async function openPage(browser, errors, { url, user }) {
  const context = await browser.newContext();
  const login = () => {
    const [name, value] = user.cookie.split("=");
    return context.addCookies([{ name, value, url, httpOnly: true, sameSite: "Strict" }]);
  };
  await login();
  await serveLibrary(context);
  const page = await context.newPage();
  page.on("pageerror", (error) => errors.push(error));
  // A page that the server itself answers with: one made up by the test would be from nowhere, and a browser lets no
  // page from elsewhere open a WebSocket to the machine itself.
  await page.goto(url);
  await page.addScriptTag({ type: "module", url: DRIVER });
  await page.waitForFunction("window.driver");
  const call = (method, ...args) =>
    page.evaluate(([method, args]) => window.driver[method](...args), [method, args]);
  return { call, login, close: () => context.close() };
}

function driverOf(browser, errors) {
  return {
    identify: ({ cookie }) => ({ cookie }),
    async connect({ url, user, transport }) {
      const { call, login, close } = await openPage(browser, errors, { url, user });
      await call("connect", transport);
      return {
        send: (channel, body, key) => call("send", channel, body, key),
        look: () => call("look"),
        boot: () => call("boot"),
        async renew() {
          await login();
          await call("renew");
        },
        close,
      };
    },
    async watch({ url, user, ...how }) {
      const page = await openPage(browser, errors, { url, user });
      await page.call("watch", "0", how);
      return programIn(page, 0);
    },
    async tail({ url, user, ...how }) {
      const page = await openPage(browser, errors, { url, user });
      await page.call("tail", "0", how);
      return programIn(page, 0);
    },
  };
}

/** The program of that number in a page. */
const programIn = (page, number) => ({
  look: () => page.call("program", `${number}`, "look"),
  check: () => page.call("program", `${number}`, "check"),
  unwatch: () => page.call("program", `${number}`, "unwatch"),
  leave: () => page.call("program", `${number}`, "leave"),
  async comeBack() {
    await page.login();
    await page.call("program", `${number}`, "comeBack");
  },
  async replace(channels) {
    await page.call("replace", `${number}`, `${number + 1}`, channels);
    return programIn(page, number + 1);
  },
  close: page.close,
});

const skip = (!BINARY && "SCROLLBACK_BIN names no server") || (!PLAYWRIGHT && "PLAYWRIGHT names no playwright-core");

test("in a browser", { skip, concurrency: LANES }, async (t) => {
  const { chromium } = createRequire(import.meta.url)(PLAYWRIGHT);
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
  try {
    const run = async (scenario) => {
      const errors = [];
      await runScenario(scenario, driverOf(browser, errors));
      assert.deepEqual(errors, []);
    };
    await Promise.all(scenarios.map((scenario) => t.test(scenario.name, () => run(scenario))));
  } finally {
    await browser.close();
  }
});
