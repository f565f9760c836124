/** ComfyUI's page as the panel sees it: requests, messages, toasts, settings, and graphs to open. */

/** @returns the page; another host of the panel answers the same members. */
export function comfyPage(app, api) {
  const manager = () => app.extensionManager;
  return {
    fetch: (path, options) => api.fetchApi(path, options),
    url: (path) => api.apiURL(path),

    /** Headers of requests that do not go through fetch (uploads with progress). */
    headers: () => (api.user ? { "Comfy-User": api.user } : {}),

    /** Listen to messages of the server; answers a function that ends it. */
    listen(type, listener) {
      const guardedListener = (event) => {
        try {
          listener(event.detail);
        } catch (error) {
          console.error("comfy-assets:", error);
        }
      };
      api.addEventListener(type, guardedListener);
      return () => api.removeEventListener(type, guardedListener);
    },

    toast: (severity, summary, detail) => manager().toast.add({ severity, summary, detail, life: 6000 }),
    setting: (id) => manager().setting.get(id),
    locale: () => manager().setting.get("Comfy.Locale") ?? "en",

    /** Open a graph in the page's own form as a new workflow. */
    openWorkflow: (graph, name) => app.loadGraphData(graph, true, true, name),
    /** Open a graph in the form that is executed. */
    openPrompt: (prompt, name) => app.loadApiJson(prompt, name),
    /** The graph that is open, in both forms. */
    currentGraph: () => app.graphToPrompt(),
    /** The name of the workflow that is open. */
    currentName: () => manager().workflow?.activeWorkflow?.filename,
    clientId: () => api.clientId,
  };
}
