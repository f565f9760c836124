/** Sending a file as the body of a request, by XMLHttpRequest: fetch does not report how much has been sent. */

/** @import { HostPage } from "../types.d.ts" */

import { RequestError, responseError } from "./client.mjs";

/**
 * Send a file, and return the JSON of the response.
 *
 * @param {HostPage} page
 * @param {string} path below `/api`
 * @param {File} file
 * @param {{ type: string, onProgress: (share: number) => void, signal: AbortSignal }} options `type` is the media type
 * @returns {Promise<unknown>}
 * @throws {RequestError} and a DOMException named AbortError if `signal` was aborted
 */
export function sendFile(page, path, file, { type, onProgress, signal }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", page.url(path));
    request.setRequestHeader("Content-Type", type);
    for (const [name, value] of Object.entries(page.headers())) request.setRequestHeader(name, value);
    request.upload.addEventListener("progress", ({ loaded, total }) => onProgress(total > 0 ? loaded / total : 0));
    request.addEventListener("load", () => {
      if (request.status >= 400) reject(responseError(request.status, request.responseText));
      else resolve(JSON.parse(request.responseText));
    });
    request.addEventListener("error", () => reject(new RequestError("unreachable", "The server cannot be reached.")));
    request.addEventListener("abort", () => reject(new DOMException("aborted", "AbortError")));
    signal.addEventListener("abort", () => request.abort());
    request.send(file);
  });
}
