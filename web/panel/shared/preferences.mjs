/** Preferences that this browser keeps: the order and view of lists, warnings that were closed. */

const PREFIX = "comfy-assets.";

export const preferences = {
  /**
   * Return members of a stored object, as far as they are stored.
   *
   * @param {string} name
   * @param {readonly string[]} members others are dropped: an older or newer panel may have stored them
   * @returns {Record<string, unknown>}
   */
  read(name, members) {
    try {
      const stored = JSON.parse(localStorage.getItem(PREFIX + name) ?? "{}");
      return Object.fromEntries(members.filter((member) => member in stored).map((member) => [member, stored[member]]));
    } catch {
      return {}; // storage is switched off, or holds no object
    }
  },

  /**
   * Store some members of an object.
   *
   * @param {string} name
   * @param {Record<string, unknown>} values
   * @param {readonly string[]} members
   */
  write(name, values, members) {
    try {
      const stored = Object.fromEntries(members.map((member) => [member, values[member]]));
      localStorage.setItem(PREFIX + name, JSON.stringify(stored));
    } catch {
      // Storage is full or switched off: the next visit begins with the defaults.
    }
  },
};
