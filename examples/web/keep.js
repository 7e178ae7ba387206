// What the tab remembers until the sign-out; nothing, where the browser keeps nothing, or no more.

export function keep(key, value) {
  try {
    sessionStorage.setItem(key, JSON.stringify(value));
  } catch {
    // the page goes on without
  }
}

/** What was kept, or null. */
export function recall(key) {
  try {
    return JSON.parse(sessionStorage.getItem(key));
  } catch {
    return null;
  }
}

export function forgetAll() {
  try {
    sessionStorage.clear();
  } catch {
    // nothing was kept
  }
}
