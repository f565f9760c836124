/** The part of ComfyUI's page that the panel uses: the modules `scripts/app.js` and `scripts/api.js`. */

import type { PageGraph, Prompt } from "./api.d.ts";

export interface ComfyCommand {
  id: string;
  label: string;
  icon: string;
  function: () => unknown;
}

export interface ComfySetting {
  id: string;
  category: string[];
  name: string;
  type: "combo" | "slider" | "boolean";
  defaultValue: string | number | boolean;
  options?: { text: string; value: string }[];
  attrs?: { min: number; max: number; step: number };
  tooltip?: string;
}

export interface ComfyExtension {
  name: string;
  commands: ComfyCommand[];
  keybindings: { commandId: string; combo: { key: string; alt?: boolean } }[];
  menuCommands: { path: string[]; commands: string[] }[];
  settings: ComfySetting[];
  setup: () => unknown;
}

export interface ComfySidebarTab {
  id: string;
  icon: string;
  title: string;
  tooltip: string;
  type: "custom";
  render: (container: HTMLElement) => unknown;
  destroy: () => void;
}

export interface ComfyApp {
  registerExtension(extension: ComfyExtension): void;
  loadGraphData(graph: PageGraph, clean: boolean, restoreView: boolean, name: string): unknown;
  loadApiJson(prompt: Prompt, name: string): unknown;
  graphToPrompt(): Promise<{ workflow: PageGraph; output: Prompt }>;
  extensionManager: {
    registerSidebarTab(tab: ComfySidebarTab): void;
    sidebarTab: { activeSidebarTabId: string | null; toggleSidebarTab(id: string): void };
    toast: { add(message: { severity: string; summary: string; detail: string; life: number }): void };
    setting: { get(id: string): unknown };
    workflow?: { activeWorkflow?: { filename?: string } };
  };
}

export interface ComfyApi extends EventTarget {
  fetchApi(path: string, options?: RequestInit): Promise<Response>;
  apiURL(path: string): string;
  /** The path below which the server is reached, without a slash at the end. */
  api_base: string;
  clientId?: string;
  user?: string;
}

export const app: ComfyApp;
export const api: ComfyApi;
