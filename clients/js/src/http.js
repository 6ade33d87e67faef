// Calls of the HTTP interface: where the server is, who the caller is, and refusals as errors.

/** A request that takes longer to be answered is given up; what became of it is unknown. */
export const ANSWER_MS = 30_000;

/** A refusal by the server. `code` is stable (docs/api.md has the table); `message` is for people. */
export class Problem extends Error {
  constructor(status, { code = "unknown", title, detail } = {}, retryMs = undefined) {
    super(detail ?? title ?? `status ${status}`);
    this.name = "Problem";
    this.status = status;
    this.code = code;
    this.retryMs = retryMs;
  }

  /** Whether the caller is nobody (any more): asking again does not help. */
  get isUnauthenticated() {
    return this.status === 401;
  }

  /** Whether the same request may fare better later. */
  get isForNow() {
    return this.status >= 500 || [408, 425, 429].includes(this.status);
  }
}

/** A server, as one caller meets it. */
export class Api {
  /** @param {import("../index.js").Options} options */
  constructor({ url = globalThis.location?.origin, token, fetch = globalThis.fetch }) {
    if (!url) throw new TypeError("outside of a page a url is needed");
    this.url = String(url).replace(/\/+$/, "");
    this.token = token;
    // Browsers want it called without a `this`.
    this.fetch = (...request) => fetch(...request);
  }

  /** The headers that say who asks; none where the cookie does. */
  async identity() {
    const token = typeof this.token === "function" ? await this.token() : this.token;
    return token ? { authorization: `Bearer ${token}` } : {};
  }

  /** The answer's JSON. Throws a {@link Problem} when refused, and what `fetch` throws when there is no answer. */
  async call(method, path, { body, headers, signal, timeoutMs = ANSWER_MS } = {}) {
    const limits = [AbortSignal.timeout(timeoutMs), ...(signal ? [signal] : [])];
    const response = await this.open(method, path, { body, headers, signal: AbortSignal.any(limits) });
    return response.status === 204 ? undefined : response.json();
  }

  /** The answer, whose body may go on for ever. */
  async open(method, path, { body, headers, signal } = {}) {
    const request = { method, headers: { ...headers }, signal, cache: "no-store" };
    Object.assign(request.headers, await this.identity());
    if (body !== undefined) {
      request.headers["content-type"] = "application/json";
      request.body = JSON.stringify(body);
    }
    const response = await this.fetch(this.url + path, request);
    if (response.ok) return response;
    const problem = await response.json().catch(() => ({}));
    const seconds = Number(response.headers.get("retry-after"));
    throw new Problem(response.status, problem, seconds > 0 ? seconds * 1000 : undefined);
  }
}
