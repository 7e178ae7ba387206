// Private Realtime topics. Realtime shows, tables know: a broadcast may be missed, so whoever follows a topic gives a
// read() that is called after each join and, while the topic is away, every few seconds.

import { supabase } from "./api.js";

const AWAY_POLL_MS = 5000;
const REFUSED_MS = 60_000; // each refusal keeps the other topics waiting for 5 s: not at once again
const LINGER_MS = 2000; // a page that is left and entered again keeps its channels

const topics = new Map(); // name -> Topic
const watchers = new Set();

class Topic {
  constructor(name) {
    this.name = name;
    this.followers = new Set();
    this.joined = false;
    this.poll = setInterval(() => this.joined || this.read(), AWAY_POLL_MS);
    this.open();
  }

  async open() {
    await supabase.realtime.setAuth(); // the first join of a page already carries the user's token
    this.channel = supabase.channel(this.name, { config: { private: true } });
    this.channel.on("broadcast", { event: "*" }, ({ event, payload }) => {
      for (const follower of this.followers) {
        follower.outdated = true; // what is being read just now may be older than this
        follower.events[event]?.(payload);
      }
    });
    let again = AWAY_POLL_MS;
    this.channel.subscribe((status, error) => {
      this.joined = status === "SUBSCRIBED";
      if (this.joined) this.read();
      if (status === "CLOSED") this.closed(again);
      if (status === "CHANNEL_ERROR" && error?.message.startsWith("Unauthorized")) {
        again = REFUSED_MS;
        supabase.removeChannel(this.channel);
      }
      tellState();
    });
  }

  /** Lost connections realtime-js mends by itself; a channel that was closed, or refused, is opened anew. */
  closed(again) {
    setTimeout(() => {
      if (this.followers.size > 0) this.open();
      else this.forget();
    }, this.followers.size > 0 ? again : 0);
  }

  forget() {
    clearInterval(this.poll);
    topics.delete(this.name);
    tellState();
  }

  read() {
    for (const follower of this.followers) catchUp(follower);
  }

  leave(follower) {
    this.followers.delete(follower);
    setTimeout(() => {
      if (this.followers.size === 0 && this.channel) supabase.removeChannel(this.channel);
    }, LINGER_MS);
  }
}

/**
 * Reads until no message came in between: an answer that is older than a message must not have the last word.
 * What fails now is read again with the next join or tick.
 */
async function catchUp(follower) {
  if (!follower.read || follower.reading) {
    follower.outdated = true;
    return;
  }
  follower.reading = true;
  try {
    do {
      follower.outdated = false;
      await follower.read();
    } while (follower.outdated);
  } catch {
    // the topic's next read
  } finally {
    follower.reading = false;
  }
}

/**
 * Listens to a private topic: events is {event: (payload) => …}; read brings the page up to date from the tables.
 * Returns a function that ends it.
 */
export function follow(name, events, read) {
  const follower = { events, read };
  const known = topics.get(name);
  const topic = known ?? new Topic(name);
  topics.set(name, topic);
  topic.followers.add(follower);
  if (topic.joined) catchUp(follower);
  tellState();
  return () => topic.leave(follower);
}

/** Calls back with "none", "live" or "away" now and whenever that changes. */
export function watchState(callback) {
  watchers.add(callback);
  callback(state());
}

function state() {
  if (!navigator.onLine) return "away";
  const all = [...topics.values()];
  if (all.length === 0) return "none";
  return all.some((topic) => topic.joined) ? "live" : "away";
}

function tellState() {
  for (const watcher of watchers) watcher(state());
}

function readAll() {
  for (const topic of topics.values()) topic.read();
  tellState();
}
window.addEventListener("online", readAll);
window.addEventListener("offline", tellState);
document.addEventListener("visibilitychange", () => document.hidden || readAll()); // a phone that slept has missed things
