// A server that does what a test says, as a `fetch` for the library.

/** The answer to a boot. */
export const BOOT = {
  user: { id: "U2", name: "bob", role: "member" },
  resume_point: 4,
  resume_token: "4-00000004",
  heartbeat: 15,
  users: [{ id: "U2", name: "bob", role: "member" }],
  channels: [{ id: "C3", name: "general", at: "2026", private: false, creator: "U1", last_offset: 4, offset: 3 }],
  messages: [],
  truncated: false,
};

export const json = (body, { status = 200, headers } = {}) => new Response(JSON.stringify(body), { status, headers });

export const problem = (status, code, headers) => json({ code, detail: `it is ${code}` }, { status, headers });

/** An event as a frame of a stream. */
export const frame = (event) => `id: ${event.offset}-0000000${event.offset}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`;
export const control = (data) => `event: ${data.type}\ndata: ${JSON.stringify(data)}\n\n`;
export const HELLO = control({ type: "hello", resume: "ok", head: 4, resume_token: "4-00000004" });

export const said = (offset, body) => ({
  offset, at: `2026-${offset}`, type: "message", event: "sent", id: `M${offset}`, channel: "C3", sender: "U2", body,
});

/** A stream that says this and then ends, or breaks, or stays open and silent. */
export function stream(text, { signal, staysOpen = false, breaks = false } = {}) {
  let isSaid = false;
  const body = new ReadableStream({
    // An error takes back what was not read yet, so it comes when somebody wants more.
    pull(controller) {
      if (breaks && isSaid) controller.error(new TypeError("terminated"));
      isSaid = true;
    },
    start(controller) {
      controller.enqueue(new TextEncoder().encode(text));
      if (breaks) return;
      if (!staysOpen) return controller.close();
      signal.addEventListener("abort", () => controller.error(signal.reason));
    },
  });
  return new Response(body);
}

/**
 * A `fetch` that answers each path by its handler, and counts. A list of handlers is used up one by one; the last stays.
 */
export function fakeServer(handlers) {
  const requests = [];
  const fetch = async (url, init) => {
    const { pathname, searchParams } = new URL(url);
    const request = { path: pathname, query: searchParams, ...init };
    const before = requests.filter(({ path }) => path === pathname).length;
    requests.push(request);
    const list = [handlers[pathname]].flat();
    return list[Math.min(before, list.length - 1)](request);
  };
  return { fetch, requests, of: (path) => requests.filter((request) => request.path === path) };
}
