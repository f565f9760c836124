/** Requests to the server: JSON in and out, a time limit, and errors that say what to do about them. */

const TIMEOUT_MS = 30_000;

/** Why a request came to nothing. `kind` is "unreachable", "slow", "server" (its fault) or "refused" (ours). */
export class RequestError extends Error {
  constructor(kind, message, { status = 0, code = "", details = {} } = {}) {
    super(message);
    this.name = "RequestError";
    this.kind = kind;
    this.status = status;
    this.code = code;
    this.details = details;
  }
}

/** Whether an error only says that a request was given up because nobody wants its answer any more. */
export function isAborted(error) {
  return error?.name === "AbortError";
}

export class Client {
  #page;

  constructor(page) {
    this.#page = page;
  }

  get(path, options) {
    return this.request("GET", path, options);
  }

  post(path, body, options) {
    return this.request("POST", path, { ...options, body });
  }

  /**
   * The JSON that the server answers, or null when it answers nothing.
   * `query` is an object or URLSearchParams, `body` is sent as JSON.
   * @throws {RequestError}, and an AbortError when `signal` says so.
   */
  async request(method, path, { query, body, signal, timeout = TIMEOUT_MS } = {}) {
    const search = query === undefined ? "" : `?${new URLSearchParams(query)}`;
    const options = { method };
    if (body !== undefined) {
      options.body = JSON.stringify(body);
      options.headers = { "Content-Type": "application/json" };
    }
    const timer = new RequestTimeout(timeout, signal);
    try {
      const response = await this.#page.fetch(path + search, { ...options, signal: timer.signal });
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

/** A signal that fires after a time, or when another does. */
class RequestTimeout {
  #controller = new AbortController();
  #timer;
  #isTimedOut = false;
  #outer;
  #abort = () => this.#controller.abort(this.#outer.reason);

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

  toRequestError(error) {
    if (error instanceof RequestError) return error;
    if (this.#isTimedOut) return new RequestError("slow", "The server did not answer in time.");
    if (isAborted(error) || this.#outer?.aborted) return new DOMException("given up", "AbortError");
    return new RequestError("unreachable", "The server cannot be reached.");
  }
}

function responseError(status, text) {
  let body = null;
  try {
    body = JSON.parse(text);
  } catch {
    // An error of something in between, which speaks no JSON: its status says enough.
  }
  const reported = body?.message ?? body?.error?.message ?? (typeof body?.error === "string" ? body.error : "");
  const message = reported || `The server answered ${status}.`;
  const details = { status, code: body?.code ?? "", details: body?.details ?? {} };
  return new RequestError(status >= 500 ? "server" : "refused", message, details);
}

function parseJson(text) {
  if (text === "") return null;
  try {
    return JSON.parse(text);
  } catch {
    throw new RequestError("server", "The server's answer cannot be read.");
  }
}
