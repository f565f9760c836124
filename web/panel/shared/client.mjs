/** Requests to the server: JSON in and out, a time limit, and errors that say what to do about them. */

/** @import { ApiBody } from "../api.d.ts" */
/** @import { HostPage } from "../types.d.ts" */

const TIMEOUT_MS = 30_000;

/**
 * Options of a request. `body` is sent as JSON.
 * @typedef {{
 *   query?: URLSearchParams | Record<string, string>,
 *   body?: unknown,
 *   signal?: AbortSignal,
 *   timeout?: number,
 * }} RequestOptions
 */

/** @typedef {"unreachable" | "slow" | "server" | "refused"} RequestErrorKind */

/** A failed request. The kind "server" stands for status 500 and above, "refused" for the other errors. */
export class RequestError extends Error {
  /**
   * @param {RequestErrorKind} kind
   * @param {string} message
   * @param {{ code?: string, details?: Record<string, unknown>, status?: number, isUnreadable?: boolean }} [options] the
   *   error code of the API, and its details; the status of a response that says no more; whether it cannot be read
   */
  constructor(kind, message, { code = "", details = {}, status = 0, isUnreadable = false } = {}) {
    super(message);
    this.name = "RequestError";
    this.kind = kind;
    this.code = code;
    this.details = details;
    this.status = status;
    this.isUnreadable = isUnreadable;
  }
}

/**
 * Return whether an error only says that the panel has aborted a request.
 *
 * @param {unknown} error
 */
export function isAborted(error) {
  return error instanceof Error && error.name === "AbortError";
}

/**
 * Return whether the same request may succeed later: the server cannot be reached, has failed, or wants the user to sign in
 * again.
 *
 * @param {unknown} error
 */
export function mayPass(error) {
  return error instanceof RequestError && (error.kind !== "refused" || error.code === "SIGN_IN_REQUIRED");
}

export class Client {
  #page;

  /** @param {HostPage} page */
  constructor(page) {
    this.#page = page;
  }

  /**
   * @template {string} Path
   * @param {Path} path
   * @param {RequestOptions} [options]
   */
  get(path, options) {
    return this.request("GET", path, options);
  }

  /**
   * @template {string} Path
   * @param {Path} path
   * @param {unknown} [body]
   */
  post(path, body) {
    return this.request("POST", path, { body });
  }

  /**
   * Send a request and return the JSON of the response, or null if it is empty.
   *
   * @template {string} Method
   * @template {string} Path
   * @param {Method} method
   * @param {Path} path below `/api`
   * @param {RequestOptions} [options]
   * @returns {Promise<ApiBody<`${Method} ${Path}`>>}
   * @throws {RequestError} and a DOMException named AbortError if `signal` was aborted
   */
  async request(method, path, { query, body, signal, timeout = TIMEOUT_MS } = {}) {
    const search = query === undefined ? "" : `?${new URLSearchParams(query)}`;
    const timer = new RequestTimeout(timeout, signal);
    /** @type {RequestInit} */
    const options = { method, signal: timer.signal };
    if (body !== undefined) {
      options.body = JSON.stringify(body);
      options.headers = { "Content-Type": "application/json" };
    }
    try {
      const response = await this.#page.fetch(path + search, options);
      const text = await response.text();
      if (!response.ok) throw responseError(response.status, text);
      return parseJson(text);
    } catch (error) {
      throw timer.toRequestError(error);
    } finally {
      timer.clear();
    }
  }
}

/** A signal that fires after a time, or when another does. Not AbortSignal.any, which older browsers lack. */
class RequestTimeout {
  #controller = new AbortController();
  #timer;
  #isTimedOut = false;
  #outer;
  #abort = () => this.#controller.abort(this.#outer?.reason);

  /**
   * @param {number} milliseconds
   * @param {AbortSignal} [outer]
   */
  constructor(milliseconds, outer) {
    this.#outer = outer;
    this.#timer = setTimeout(() => {
      this.#isTimedOut = true;
      this.#controller.abort();
    }, milliseconds);
    if (outer?.aborted) this.#abort();
    else outer?.addEventListener("abort", this.#abort);
  }

  get signal() {
    return this.#controller.signal;
  }

  clear() {
    clearTimeout(this.#timer);
    this.#outer?.removeEventListener("abort", this.#abort);
  }

  /**
   * Return the error to throw for one that was caught. Browsers report a timeout, an abort and a lost connection with
   * similar errors, so the state of the signals decides: callers drop what they have aborted, and nothing else.
   *
   * @param {unknown} error
   */
  toRequestError(error) {
    if (error instanceof RequestError) return error;
    if (this.#isTimedOut) return new RequestError("slow", "The server did not respond in time.");
    if (this.#outer?.aborted) return new DOMException("aborted", "AbortError");
    return new RequestError("unreachable", "The server cannot be reached.");
  }
}

/**
 * Return the error for a response with a status of 400 or above. The API's own errors have `code` and `message`;
 * ComfyUI's have `error`, as a text or an object.
 *
 * @param {number} status
 * @param {string} text
 */
export function responseError(status, text) {
  let body = null;
  try {
    body = JSON.parse(text);
  } catch {
    // Proxies send HTML, so only the status is shown.
  }
  const reported = body?.message ?? body?.error?.message ?? (typeof body?.error === "string" ? body.error : "");
  const kind = status >= 500 ? "server" : "refused";
  if (!reported) return new RequestError(kind, `The server returned status ${status}.`, { status });
  return new RequestError(kind, reported, { code: body.code, details: body.details });
}

/** @param {string} text */
function parseJson(text) {
  if (text === "") return null;
  try {
    return JSON.parse(text);
  } catch {
    throw new RequestError("server", "The server's response cannot be read.", { isUnreadable: true });
  }
}
