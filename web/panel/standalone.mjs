/** The panel in a page of its own, without ComfyUI's page around it. */

/** @import { PageGraph, Prompt } from "./api.d.ts" */
/** @import { HostPage } from "./types.d.ts" */

import { SessionWatch } from "./login/session_watch.mjs";
import { createPanel } from "./panel.mjs";
import { saveJson } from "./shared/save_file.mjs";

const RECONNECT_MS = 2000;
const base = new URL(".", document.baseURI).pathname;
// Not a random UUID, which browsers make only at https addresses and on localhost.
const clientId = [...crypto.getRandomValues(new Uint8Array(16))]
  .map((byte) => byte.toString(16).padStart(2, "0"))
  .join("");
const messages = new EventTarget();

/**
 * Listen to the server's messages, and connect again after the connection is lost.
 *
 * @param {boolean} [isAgain]
 */
function connect(isAgain = false) {
  const url = new URL(`${base}ws?clientId=${clientId}`, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  const socket = new WebSocket(url);
  if (isAgain) socket.addEventListener("open", () => messages.dispatchEvent(new CustomEvent("reconnected")));
  socket.addEventListener("message", ({ data }) => {
    if (typeof data !== "string") return; // a preview image, which the panel does not show
    const { type, data: detail } = JSON.parse(data);
    messages.dispatchEvent(new CustomEvent(type, { detail }));
  });
  socket.addEventListener("close", () => {
    messages.dispatchEvent(new CustomEvent("reconnecting"));
    setTimeout(() => connect(true), RECONNECT_MS);
  });
}

/**
 * Download a graph as a file, as there is no canvas to open it on.
 *
 * @param {PageGraph | Prompt} graph
 * @param {string} name
 */
function download(graph, name) {
  saveJson(graph, `${name}.json`);
}

/**
 * Name the user whom ComfyUI's page has stored, on servers that tell users apart.
 *
 * @returns {Record<string, string>}
 */
function headers() {
  const user = localStorage.getItem("Comfy.userId");
  return user ? { "Comfy-User": user } : {};
}

/** @type {HostPage} */
const page = {
  fetch: (path, options) => fetch(`${base}api${path}`, { ...options, headers: { ...headers(), ...options?.headers } }),
  url: (path) => `${base}api${path}`,
  ownPage: () => null,
  headers,
  listen(type, listener) {
    /** @param {Event} event */
    const handler = (event) => listener(/** @type {CustomEvent} */ (event).detail);
    messages.addEventListener(type, handler);
    return () => messages.removeEventListener(type, handler);
  },
  toast() {},
  setting: () => undefined,
  languages: () => navigator.languages,
  openWorkflow: download,
  openSavedWorkflow: () => Promise.resolve(false), // there is no canvas
  openPrompt: download,
  currentGraph: null,
  canvas: null,
  currentName: () => undefined,
  clientId: () => clientId,
};

connect();
new SessionWatch(page).start();
createPanel(page).mount(/** @type {HTMLElement} */ (document.getElementById("panel")));
