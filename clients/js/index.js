// The library's public face. What is exported here is described in index.d.ts; everything else may change.

export { connect, Client } from "./src/client.js";
export { fold, foldHistory, fromBoot, needOf } from "./src/fold.js";
export { Problem } from "./src/http.js";
export { Unanswered } from "./src/send.js";
export { tail, Tail } from "./src/tail.js";
export { watch, Watch } from "./src/watch/watch.js";

import { boot as bootOver } from "./src/boot.js";
import { Api } from "./src/http.js";

/**
 * One state of what the caller may see, exact at its offset. {@link connect} does this by itself and goes on from there.
 *
 * @param {import("./index.js").Options} [options]
 */
export const boot = (options = {}) => bootOver(new Api(options), options.messages, options.signal);
