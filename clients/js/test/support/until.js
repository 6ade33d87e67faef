/** What a test waits for takes no longer than this, or never comes. A client waits up to 8 s, and the machine may be busy. */
const LONGEST_MS = 120_000;
const LOOK_EVERY_MS = 10;
/** The real one, also where a test has its own time. */
const { setTimeout } = globalThis;

/** Looks until it is so. `what` may be a function, for what is known only in the end. */
export async function until(what, look) {
  const deadline = Date.now() + LONGEST_MS;
  for (;;) {
    const seen = await look();
    if (seen) return seen;
    if (Date.now() > deadline) throw new Error(`waited in vain: ${typeof what === "function" ? what() : what}`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
}
