import { fromBoot } from "./fold.js";

/** How many of the newest messages of each channel a boot brings if nothing else is asked for. */
export const MESSAGES = 50;

export async function boot(api, messages = MESSAGES, signal = undefined) {
  return fromBoot(await api.call("GET", `/api/boot?messages=${messages}`, { signal }));
}
