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
  /** A function returns the control itself. */
  type: "combo" | "slider" | "boolean" | (() => HTMLElement);
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

export interface CanvasWidget {
  name: string;
  value: unknown;
  options?: { values?: unknown };
  callback?: (value: unknown) => unknown;
}

export interface CanvasNode {
  type: string;
  comfyClass?: string;
  pos: [x: number, y: number];
  size: [width: number, height: number];
  widgets?: CanvasWidget[];
  inputs?: { type: string }[];
  outputs?: { type: string; links?: number[] | null }[];
  connect(slot: number, node: CanvasNode, targetSlot: number): unknown;
}

export interface CanvasLink {
  target_id: number | string;
  target_slot: number;
}

export interface CanvasGraph {
  /** Older pages have `_nodes` alone. */
  nodes?: CanvasNode[];
  _nodes?: CanvasNode[];
  links: Map<number, CanvasLink> | Record<number, CanvasLink>;
  add(node: CanvasNode): unknown;
  getNodeById(id: number | string): CanvasNode | null;
  getNodeOnPos(x: number, y: number): CanvasNode | null | undefined;
  setDirtyCanvas(foreground: boolean, background: boolean): void;
}

type Area = ArrayLike<number> & Iterable<number>;

export interface ComfyCanvas {
  canvas: HTMLCanvasElement;
  /** The graph that is shown: the workflow's, or a subgraph in it. */
  graph: CanvasGraph;
  ds: { visible_area?: Area };
  visible_area?: Area;
  selected_nodes?: Record<string, CanvasNode>;
}

export interface NodeType {
  nodeData?: { input?: { required?: Record<string, unknown>; optional?: Record<string, unknown> } };
}

declare global {
  var LiteGraph: {
    createNode(type: string): CanvasNode | null;
    registered_node_types: Record<string, NodeType>;
  } | undefined;
}

/** A workflow in the page: of a file, or one that is not saved yet. */
export interface ComfyWorkflow {
  filename?: string;
  isModified?: boolean;
  changeTracker?: { checkState?(): void };
  /** The graph as it is now; null until it is loaded. */
  activeState: PageGraph | null;
  load(options?: { force?: boolean }): Promise<unknown>;
}

/** The page's list of workflows. Older pages have less of it. */
export interface ComfyWorkflowStore {
  activeWorkflow?: ComfyWorkflow;
  getWorkflowByPath?(path: string): ComfyWorkflow | null;
  /** Read the folder again. */
  syncWorkflows?(): Promise<unknown>;
}

export interface ComfyApp {
  canvas: ComfyCanvas;
  clientPosToCanvasPos(position: [x: number, y: number]): [x: number, y: number];
  registerExtension(extension: ComfyExtension): void;
  loadGraphData(graph: PageGraph, clean: boolean, restoreView: boolean, workflow: string | ComfyWorkflow): unknown;
  loadApiJson(prompt: Prompt, name: string): unknown;
  graphToPrompt(): Promise<{ workflow: PageGraph; output: Prompt }>;
  extensionManager: {
    registerSidebarTab(tab: ComfySidebarTab): void;
    sidebarTab: { activeSidebarTabId: string | null; toggleSidebarTab(id: string): void };
    toast: { add(message: { severity: string; summary: string; detail: string; life: number }): void };
    setting: { get(id: string): unknown };
    workflow?: ComfyWorkflowStore;
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
