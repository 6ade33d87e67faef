// The real binary, in a fresh directory, on a port that it keeps over restarts.

import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";

import { Api } from "../../src/http.js";

export const BINARY = process.env.SCROLLBACK_BIN;
const PASSWORD = "correct horse battery staple";
/** Heartbeats every second, so that a silent stream is noticed soon. */
const OPTIONS = ["--heartbeat", "1s", "--sign-in-burst", "1000"];

/** The settings of whoever runs the tests are not the server's. */
const ENVIRONMENT = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("SCROLLBACK_")));

const run = (args, env = {}) => promisify(execFile)(BINARY, args, { env: { ...ENVIRONMENT, ...env } });

export class Server {
  url;
  #listen = "127.0.0.1:0";
  #directory;
  #process;

  /** A running server with the owner "ada" and her token. */
  static async setUp() {
    const server = new Server();
    server.#directory = await mkdtemp(join(tmpdir(), "scrollback-js-"));
    await server.start();
    const setUp = await server.post("/api/setup", { name: "ada", password: PASSWORD });
    return { server, ada: await server.#user(setUp) };
  }

  /** Starts it, with these options for this time. */
  async start(options = []) {
    const place = ["--data", this.#path("data"), "--listen", this.#listen, "--log", "error"];
    const args = ["serve", ...place, ...OPTIONS, ...options];
    const child = spawn(BINARY, args, { env: ENVIRONMENT, stdio: ["ignore", "pipe", "inherit"] });
    this.#process = child;
    for await (const line of createInterface({ input: child.stdout })) {
      const [, url] = /^listening on (\S+)/.exec(line) ?? [];
      if (!url) continue;
      this.url = url;
      this.#listen = new URL(url).host;
      child.stdout.resume();
      return;
    }
    throw new Error("the server did not start");
  }

  kill() {
    return this.#end("SIGKILL");
  }

  stop() {
    return this.#end("SIGTERM");
  }

  async #end(signal) {
    const child = this.#process;
    this.#process = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill(signal);
    await ended;
  }

  async remove() {
    await this.kill();
    await rm(this.#directory, { recursive: true, force: true });
  }

  /** A backup of the running server, which its owner takes. */
  async backup(file, { token }) {
    await run(["backup", "--server", this.url, this.#path(file)], { SCROLLBACK_TOKEN: token });
  }

  /** Puts a backup in the place of the log. That ends all sessions and tokens. */
  async restore(file) {
    await this.stop();
    await run(["restore", "--data", this.#path("data"), "--yes", this.#path(file)]);
    await this.start();
  }

  /** Gives a user another session and another token. */
  async login(user) {
    Object.assign(user, await this.#user(await this.post("/api/auth/login", { name: user.name, password: PASSWORD })));
  }

  #path(name) {
    return join(this.#directory, name);
  }

  /** A member, made by invitation. */
  async member(inviter, name) {
    const { token } = await this.api(inviter.token).call("POST", "/api/invite", { body: {} });
    return this.#user(await this.post(`/api/invite/${token}`, { name, password: PASSWORD }));
  }

  /** The answer, and the cookie that it sets. */
  async post(path, body) {
    const response = await this.api().open("POST", path, { body });
    const [cookie] = (response.headers.get("set-cookie") ?? "").split(";");
    return { ...(await response.json()), cookie };
  }

  /** A user who has logged in, with an API token. */
  async #user({ id, name, cookie }) {
    const request = { body: { label: "test" }, headers: { cookie } };
    const answer = await this.api().call("POST", "/api/tokens", request);
    return { id, name, cookie, token: answer.token, tokenId: answer.id };
  }

  api(token) {
    return new Api({ url: this.url, token });
  }
}
