/** The panel on a page of its own, without ComfyUI's page around it: requests, messages, and graphs as files. */

import { createPanel } from "./panel.mjs";

const RECONNECT_MS = 2000;
const base = new URL(".", document.baseURI).pathname;
// Browsers have randomUUID at https and this machine's own addresses alone.
const clientId = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join(
  "",
);
const messages = new EventTarget();

/** Listen to the server's messages, again whenever the connection was lost. */
function connect() {
  const url = new URL(`${base}ws?clientId=${clientId}`, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  const socket = new WebSocket(url);
  socket.addEventListener("message", ({ data }) => {
    if (typeof data !== "string") return; // previews, which the panel does not show
    const { type, data: detail } = JSON.parse(data);
    messages.dispatchEvent(new CustomEvent(type, { detail }));
  });
  socket.addEventListener("close", () => setTimeout(connect, RECONNECT_MS));
}

/** There is no canvas to open a graph on: it is handed over as a file. */
function save(graph, name) {
  const url = URL.createObjectURL(new Blob([JSON.stringify(graph, null, 2)], { type: "application/json" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = `${name}.json`;
  link.click();
  URL.revokeObjectURL(url);
}

const page = {
  fetch: (path, options) => fetch(`${base}api${path}`, options),
  url: (path) => `${base}api${path}`,
  headers: () => ({}),
  listen(type, listener) {
    const handler = (event) => listener(event.detail);
    messages.addEventListener(type, handler);
    return () => messages.removeEventListener(type, handler);
  },
  toast() {},
  setting: () => undefined,
  locale: () => navigator.language.split("-")[0],
  openWorkflow: save,
  openPrompt: save,
  currentGraph: null,
  currentName: () => undefined,
  clientId: () => clientId,
};

connect();
createPanel(page).mount(document.getElementById("panel"));
