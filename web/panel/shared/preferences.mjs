/** What the panel remembers in this browser: how lists are sorted and shown. Never what it needs to work. */

const PREFIX = "comfy-assets.";

export const preferences = {
  /** The members of an object that were kept under a name. */
  read(name, members) {
    try {
      const kept = JSON.parse(localStorage.getItem(PREFIX + name) ?? "{}");
      return Object.fromEntries(members.filter((member) => member in kept).map((member) => [member, kept[member]]));
    } catch {
      return {}; // storage is switched off, or holds something else
    }
  },

  write(name, values, members) {
    try {
      const kept = Object.fromEntries(members.map((member) => [member, values[member]]));
      localStorage.setItem(PREFIX + name, JSON.stringify(kept));
    } catch {
      // Storage is full or switched off: the next visit begins with the defaults.
    }
  },
};
