/**
 * The drafts of workflows that ComfyUI's page keeps in the browser, kept apart for each user of the login.
 *
 * The page does not know of the login. Without this, whoever signs in after another user in the same browser would see
 * that user's unsaved graphs. Drafts are set aside, not removed: they are there again when their user returns.
 */

const OWNER = "comfy-assets.drafts-of";
const ASIDE = "comfy-assets.drafts.";
/** The keys of all versions of the page since 1.27: one graph, then a list of drafts, then an index with one key each. */
const DRAFT =
  /^(?:workflow(?::.*)?|Comfy\.(?:PreviousWorkflow|OpenWorkflowsPaths|ActiveWorkflowIndex)(?::.*)?|Comfy\.Workflow\.(?:Draft|ActivePath|OpenPaths|LastActivePath|LastOpenPaths).*)$/;
const TIMEOUT_MS = 4000;

/**
 * Bring the drafts of the signed-in user back, if those of another one are there. Must come before the page reads them.
 *
 * @param {(path: string, options?: RequestInit) => Promise<Response>} request requests a path below `/api`
 * @returns {Promise<boolean>} whether drafts were exchanged, so that the page has to be loaded again
 */
export async function exchangeDrafts(request) {
  const before = draftsOwner();
  if (before === null) return false; // nobody has signed in in this browser before
  const user = await signedInUser(request);
  if (user === null || user === before) return false;
  for (const storage of [localStorage, sessionStorage]) exchange(storage, before, user);
  rememberOwner(user);
  return true;
}

/** Return the user whose drafts the page has, null if nobody has signed in in this browser. */
export function draftsOwner() {
  try {
    return localStorage.getItem(OWNER);
  } catch {
    return null; // storage is switched off: the page keeps no drafts
  }
}

/**
 * Note whose drafts the page has from now on. Other pages of this browser learn of it by a `storage` event.
 *
 * @param {string} user
 */
export function rememberOwner(user) {
  try {
    localStorage.setItem(OWNER, user);
  } catch {
    // The page can keep no drafts either.
  }
}

/**
 * Return whether a change of the storage says that another user has signed in.
 *
 * @param {StorageEvent} event
 * @param {string} user
 */
export function isOtherOwner(event, user) {
  return event.key === OWNER && event.newValue !== null && event.newValue !== user;
}

/**
 * @param {Storage} storage
 * @param {string} before
 * @param {string} user
 */
function exchange(storage, before, user) {
  const keys = Object.keys(storage);
  const own = aside(user);
  for (const key of keys) if (DRAFT.test(key)) rename(storage, key, aside(before) + key);
  for (const key of keys) {
    if (key.startsWith(own) && DRAFT.test(key.slice(own.length))) rename(storage, key, key.slice(own.length));
  }
}

/**
 * Return the beginning of the keys under which a user's drafts are set aside.
 *
 * @param {string} user
 */
function aside(user) {
  return `${ASIDE}${encodeURIComponent(user).replaceAll(".", "%2E")}.`;
}

/**
 * @param {Storage} storage
 * @param {string} from
 * @param {string} to
 */
function rename(storage, from, to) {
  const value = storage.getItem(from) ?? "";
  storage.removeItem(from); // first: there may be no space for both
  try {
    storage.setItem(to, value);
  } catch {
    storage.setItem(from, value); // what a user has made is kept in any case
  }
}

/** @param {(path: string, options?: RequestInit) => Promise<Response>} request */
async function signedInUser(request) {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(), TIMEOUT_MS);
  try {
    const response = await request("/login", { signal: controller.signal });
    const user = response.ok ? (await response.json()).user : null;
    return typeof user === "string" ? user : null;
  } catch {
    return null; // the page shows that the server cannot be reached
  } finally {
    clearTimeout(timer);
  }
}
