/** Types that the panel's modules share. For the type checker alone: no page loads this file. */

import type { PageGraph, Prompt, ServerMessages } from "./api.d.ts";
import type { IconName } from "./shared/icons.mjs";
import type { Client } from "./shared/client.mjs";
import type { Network } from "./shared/network.mjs";
import type { Notifications } from "./shared/notifications.mjs";
import type { preferences } from "./shared/preferences.mjs";

export interface ScreenPoint {
  x: number;
  y: number;
}

/** The inputs of a type of node by name, with their choices; empty for inputs without. */
export type NodeInputs = Record<string, string[]>;

/** Values of widgets by name. */
export type WidgetValues = Record<string, string>;

/** The canvas of the page. */
export interface NodeCanvas {
  /** The inputs of all types of nodes. */
  nodeInputs(): Record<string, NodeInputs>;
  /** Add a node in the middle of the view or at a place. Returns false for an unknown type. */
  add(type: string, values: WidgetValues, place?: { at?: ScreenPoint; shift?: number }): boolean;
  /** Set the selected node of these types, or the only one, by values for each type. Returns its type, or null. */
  set(types: string[], values: Record<string, WidgetValues>): string | null;
  /** Add a node behind the last one that passes on a model and a CLIP. Returns null for an unknown type. */
  addToChain(type: string, values: WidgetValues): { isConnected: boolean } | null;
  /** Let what is being dragged be dropped: on a place, a node of a type or null, whose widgets `set` sets. */
  acceptDrop(
    options: { onNodes: boolean },
    drop: (at: ScreenPoint, type: string | null, set: (values: WidgetValues) => void) => void,
  ): void;
}

/** The page around the panel: ComfyUI's, or the panel's own. */
export interface HostPage {
  /** Request a path below `/api`. */
  fetch(path: string, options?: RequestInit): Promise<Response>;
  /** The address of a path below `/api`, for elements and uploads. */
  url(path: string): string;
  /** The address of the panel's own page; null on that page. */
  ownPage(): string | null;
  /** Headers for requests that do not go through `fetch`: they name the user where there are several. */
  headers(): Record<string, string>;
  /** Listen to messages of the server; returns a function that stops it. */
  listen<Type extends keyof ServerMessages>(type: Type, listener: (detail: ServerMessages[Type]) => void): () => void;
  toast(severity: string, summary: string, detail: string): void;
  /** The value of one of the page's settings, undefined if it has none. */
  setting(id: string): unknown;
  /** The languages of the page as BCP 47 tags, best first. */
  languages(): readonly string[];
  /** Open a graph in the form that the page saves, as a new workflow. */
  openWorkflow(graph: PageGraph, name: string): unknown;
  /** Open a file of the user's workflows by its path. Returns false if the page cannot do that. */
  openSavedWorkflow(path: string): Promise<boolean>;
  /** Open a graph in the form that is executed. */
  openPrompt(prompt: Prompt, name: string): unknown;
  /** The open graph in both forms; null on a page without a canvas. */
  currentGraph: (() => Promise<{ workflow: PageGraph; output: Prompt }>) | null;
  /** The nodes on the page's canvas; null on a page without one. */
  canvas: NodeCanvas | null;
  /** The name of the open workflow. */
  currentName(): string | undefined;
  /** The websocket's client id, for the jobs that the panel queues. */
  clientId(): string | undefined;
}

/** Return the text of a key with its `{name}` parts replaced; `count` selects the plural form. */
export type Translate = (key: string, values?: Record<string, string | number>) => string;

/** Services that all parts of the panel share. */
export interface PanelContext {
  page: HostPage;
  client: Client;
  t: Translate;
  /** A BCP 47 tag, for the formats of numbers and dates. */
  language: string;
  notifications: Notifications;
  preferences: typeof preferences;
  network: Network;
  /** Show an asset in the library tab; `back` is called when its detail is closed. */
  openAsset(id: string, back?: () => void): void;
  /** Show a job in the jobs tab. */
  openJob(id: string): void;
  /** Show a workflow in the workflows tab. */
  openWorkflow(id: string): void;
  /** Show what a search finds in the library tab. */
  searchLibrary(text: string): void;
}

/** A change that a notification offers to take back. */
export interface Undo {
  label: string;
  action: () => unknown;
  /** "undo" if it is left out. */
  icon?: IconName;
}
