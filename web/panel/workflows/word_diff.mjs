/** The difference between two texts, word by word. Pure. */

/**
 * A part of both texts, or of one of them.
 * @typedef {{ kind: "same" | "removed" | "added", text: string }} TextPart
 */

const MAX_WORDS = 600; // of each text: the comparison takes as many steps as their product
const CONTEXT = 6; // words around a change

/**
 * Compare two texts. Long parts that are the same are shortened to the words around the changes. Returns null for texts
 * that are too long, or have so little in common that a comparison would not help.
 *
 * @param {string} before
 * @param {string} after
 * @returns {TextPart[] | null}
 */
export function diffWords(before, after) {
  const [old, current] = [words(before), words(after)];
  if (Math.min(old.length, current.length) < 3 || Math.max(old.length, current.length) > MAX_WORDS) return null;
  const parts = merged(old, current);
  const same = parts.filter(({ kind }) => kind === "same").reduce((sum, { text }) => sum + words(text).length, 0);
  if (same < Math.min(old.length, current.length) / 4) return null;
  return parts.map((part, index) => shortened(part, index === 0, index === parts.length - 1));
}

/**
 * Return words with the spaces and marks behind them.
 *
 * @param {string} text
 */
function words(text) {
  return text.match(/[^\s,.;:()]+[\s,.;:()]*|[\s,.;:()]+/g) ?? [];
}

/**
 * Return the parts by the longest common subsequence of the words.
 *
 * @param {string[]} old
 * @param {string[]} current
 */
function merged(old, current) {
  const lengths = commonLengths(old, current);
  /** @type {TextPart[]} */
  const parts = [];
  /**
   * @param {TextPart["kind"]} kind
   * @param {string} text
   */
  const add = (kind, text) => {
    const last = parts[parts.length - 1];
    if (last?.kind === kind) last.text += text;
    else parts.push({ kind, text });
  };
  let [i, j] = [0, 0];
  while (i < old.length || j < current.length) {
    if (i < old.length && j < current.length && isSame(old[i], current[j])) {
      add("same", current[j]);
      i += 1;
      j += 1;
    } else if (j >= current.length || (i < old.length && lengths[i + 1][j] >= lengths[i][j + 1])) {
      add("removed", old[i++]);
    } else add("added", current[j++]);
  }
  return parts;
}

/**
 * Return, for each pair of places, the length of the longest common subsequence of what follows.
 *
 * @param {string[]} old
 * @param {string[]} current
 */
function commonLengths(old, current) {
  const lengths = Array.from({ length: old.length + 1 }, () => new Uint16Array(current.length + 1));
  for (let i = old.length - 1; i >= 0; i -= 1) {
    for (let j = current.length - 1; j >= 0; j -= 1) {
      lengths[i][j] = isSame(old[i], current[j])
        ? lengths[i + 1][j + 1] + 1
        : Math.max(lengths[i + 1][j], lengths[i][j + 1]);
    }
  }
  return lengths;
}

/**
 * Return whether two words are the same but for what follows them: a list that goes on gets a comma.
 *
 * @param {string} one
 * @param {string} other
 */
function isSame(one, other) {
  return one === other || (one.trim() !== "" && bare(one) !== "" && bare(one) === bare(other));
}

/** @param {string} word */
function bare(word) {
  return word.replace(/[\s,.;:]+$/, "");
}

/**
 * @param {TextPart} part
 * @param {boolean} isFirst
 * @param {boolean} isLast
 * @returns {TextPart}
 */
function shortened({ kind, text }, isFirst, isLast) {
  const all = words(text);
  if (kind !== "same" || all.length <= 2 * CONTEXT + 1) return { kind, text };
  const start = isFirst ? "" : all.slice(0, CONTEXT).join("");
  const end = isLast ? "" : all.slice(-CONTEXT).join("");
  return { kind, text: `${start}… ${end}` };
}
