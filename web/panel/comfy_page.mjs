/** ComfyUI's page as the panel sees it. */

/** @import { ComfyApi, ComfyApp } from "./comfyui.d.ts" */
/** @import { HostPage } from "./types.d.ts" */

import { comfyCanvas } from "./comfy_canvas.mjs";

const TOAST_MS = 6000;

/**
 * Return an adapter for the page.
 *
 * @param {ComfyApp} app
 * @param {ComfyApi} api
 * @returns {HostPage}
 */
export function comfyPage(app, api) {
  const manager = () => app.extensionManager; // set later than `app`
  return {
    fetch: (path, options) => api.fetchApi(path, options),
    url: (path) => api.apiURL(path),
    ownPage: () => `${api.api_base}/assets`,

    /** @returns {Record<string, string>} */
    headers: () => (api.user ? { "Comfy-User": api.user } : {}),

    listen(type, listener) {
      /** @param {Event} event */
      const guardedListener = (event) => {
        try {
          listener(/** @type {CustomEvent} */ (event).detail);
        } catch (error) {
          console.error("comfy-assets:", error); // must not reach the page's own listeners
        }
      };
      api.addEventListener(type, guardedListener);
      return () => api.removeEventListener(type, guardedListener);
    },

    toast: (severity, summary, detail) => manager().toast.add({ severity, summary, detail, life: TOAST_MS }),
    setting: (id) => manager().setting.get(id),
    languages: () => [String(manager().setting.get("Comfy.Locale") ?? "en")],

    openWorkflow: (graph, name) => app.loadGraphData(graph, true, true, name),
    openSavedWorkflow: (path) => openFile(app, path),
    openPrompt: (prompt, name) => app.loadApiJson(prompt, name),
    currentGraph: () => app.graphToPrompt(),
    canvas: comfyCanvas(app),
    currentName: () => manager().workflow?.activeWorkflow?.filename,
    clientId: () => api.clientId,
  };
}

/**
 * Open a workflow of the user's folder as the file that it is, so that saving it replaces the file. Changes that are not
 * saved stay. Returns whether the page can do that.
 *
 * @param {ComfyApp} app
 * @param {string} path such as "workflows/video/test.json"
 */
async function openFile(app, path) {
  const workflows = app.extensionManager.workflow;
  if (!workflows?.getWorkflowByPath) return false;
  let file = workflows.getWorkflowByPath(path);
  if (file === null || file === undefined) {
    await workflows.syncWorkflows?.(); // it may have been saved elsewhere since the page was loaded
    file = workflows.getWorkflowByPath(path);
  }
  if (!file) return false;
  if (!file.isModified) await file.load({ force: true }); // others may have saved the file since it was read
  if (file.activeState === null) return false;
  await app.loadGraphData(file.activeState, true, true, file);
  return true;
}
