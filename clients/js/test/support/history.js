// Random histories on a real server: users of every role do whatever comes to their mind, allowed or not.

import { Problem } from "../../src/http.js";

const NAMES = ["bob", "cid", "dora"];

export class RandomHistory {
  constructor(server, ada, dice) {
    this.server = server;
    this.dice = dice;
    this.users = [ada];
    this.channels = [];
    this.messages = [];
    this.names = 0;
  }

  async begin() {
    for (const name of NAMES) this.users.push(await this.server.member(this.users[0], name));
  }

  /** One thing that somebody tries. */
  async step() {
    const [user, other] = [this.#one(this.users), this.#one(this.users)];
    const [channel, message] = [this.#one(this.channels), this.#one(this.messages)];
    const roll = this.dice(100);
    if (roll < 8 || !channel) {
      const body = { name: `channel ${(this.names += 1)}`, private: this.dice(3) > 0 };
      const created = await this.#try(user, "POST", "/api/channels", body);
      if (created) this.channels.push(created.id);
    } else if (roll < 55) {
      const sent = await this.#try(user, "POST", `/api/channels/${channel}`, { body: `said ${roll} 😀` });
      if (sent) this.messages.push(sent.id);
    } else if (roll < 67) {
      if (message) await this.#try(user, "DELETE", `/api/messages/${message}`);
    } else if (roll < 82) {
      await this.#try(user, "PUT", `/api/channels/${channel}/members/${other.id}`);
    } else if (roll < 92) {
      await this.#try(user, "DELETE", `/api/channels/${channel}/members/${other.id}`);
    } else if (roll < 94) {
      await this.#try(user, "DELETE", `/api/channels/${channel}`);
    } else if (roll < 97) {
      // Only dora is an owner at times: what owners lose is read anew, and a fold would be tested no more.
      const role = other.name === "dora" && this.dice(2) ? "owner" : ["member", "moderator"][this.dice(2)];
      if (other.name !== "ada") await this.#try(this.users[0], "PUT", `/api/users/${other.id}`, { role });
    } else {
      await this.server.member(user, `guest ${(this.names += 1)}`);
    }
  }

  async #try(user, method, path, body) {
    try {
      return await this.server.api(user.token).call(method, path, { body });
    } catch (error) {
      if (error instanceof Problem && error.status < 500) return undefined;
      throw error;
    }
  }

  #one(list) {
    return list[this.dice(list.length)];
  }
}
