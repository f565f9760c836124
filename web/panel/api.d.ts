/**
 * Bodies of the server's API and of its messages, as far as the panel reads them. For the type checker alone: no page
 * loads this file. Unknown members are left out by the server. Times are ISO 8601 texts, or milliseconds where numbers.
 */

/** A graph in the form that is executed: nodes by their ids. */
export type Prompt = Record<string, PromptNode>;

export interface PromptNode {
  class_type: string;
  inputs?: Record<string, unknown>;
  _meta?: { title?: string };
}

/** A graph in the form that ComfyUI's page saves. */
export interface PageGraph extends Subgraph {
  nodes: PageNode[];
  definitions?: { subgraphs?: Subgraph[] };
}

export interface Subgraph {
  id?: string;
  name?: string;
  nodes?: PageNode[];
  links?: PageLink[];
}

export interface PageNode {
  id: number | string;
  type: string;
  title?: string;
  mode?: number;
  inputs?: { name: string; link?: number | null; widget?: { name: string } }[];
  widgets_values?: unknown[] | Record<string, unknown>;
}

/** Id, origin node and origin slot: an array in graphs, an object in subgraphs. */
export type PageLink =
  | [id: number, origin: number | string, slot: number, ...rest: unknown[]]
  | { id: number; origin_id: number | string; origin_slot: number };

export type Graph = PageGraph | Prompt;

/** The type of an input, or its choices, and its options. */
export type InputDefinition = [kind: unknown, options?: { forceInput?: boolean; image_upload?: boolean }];

export interface NodeDefinition {
  input?: { required?: Record<string, InputDefinition>; optional?: Record<string, InputDefinition> };
}

export interface UserMetadata {
  favorite?: boolean;
  /** 1 to 5. */
  rating?: number;
  [name: string]: unknown;
}

export interface AssetMetadata {
  width?: number;
  height?: number;
  prompt?: Prompt;
  workflow?: PageGraph;
  parameters?: string;
  header?: Record<string, unknown>;
  [name: string]: unknown;
}

/** What made a picture, as far as its file or its job says. */
export interface Generation {
  positive?: string;
  negative?: string;
  models?: string[];
  loras?: { name: string; weight?: number }[];
  /** Digits: it may be too large for a number. */
  seed?: string;
  steps?: number;
  sampler?: string;
  scheduler?: string;
  cfg?: number;
  width?: number;
  height?: number;
  tool?: string;
}

export interface Asset {
  id: string;
  name: string;
  /** In bytes. */
  size: number;
  mime_type: string;
  tags: string[];
  created_at: string;
  updated_at: string;
  user_metadata?: UserMetadata;
  metadata?: AssetMetadata;
  hash?: string;
  file_path?: string;
  loader_path?: string;
  /** By category, where they differ. */
  loader_paths?: Record<string, string>;
  preview_url?: string;
  job_id?: string;
  /** Files with the same content, if there are several. */
  copies?: number;
  /** In lists with `stack`: the assets of its job that it stands for. */
  stack?: { job_id: string; count: number };
  /** Not in lists. */
  generation?: Generation;
}

export interface AssetPage {
  assets: Asset[];
  total: number;
  has_more: boolean;
  next_cursor?: string;
}

export type MediaKind = "image" | "video" | "audio" | "3d" | "model" | "text" | "other";

/** Numbers of assets, each as if its own parameter were not given. */
export interface Facets {
  total: number;
  /** Bytes. */
  total_size: number;
  /** Of the models among them, the largest first. */
  categories: { name: string; count: number; size: number }[];
  kinds: Partial<Record<MediaKind, number>>;
  ratings: Record<"none" | "1" | "2" | "3" | "4" | "5", number>;
  favorites: Record<"true" | "false", number>;
  orientations: Record<"landscape" | "portrait" | "square", number>;
  base_models: { name: string; count: number }[];
  /** Omitted while the search index is not ready. */
  has_workflow?: Record<"true" | "false", number>;
}

export interface DayPage {
  /** `cursor` is the `after` of a list that begins with the day. */
  days: { date: string; count: number; cursor: string }[];
  total: number;
  has_more: boolean;
  next_cursor?: string;
}

export interface FolderPage {
  folders: { path: string; name: string; asset_count: number; total_count: number; has_folders: boolean }[];
  has_more: boolean;
  next_cursor?: string;
}

export interface Collection {
  id: string;
  name: string;
  asset_count: number;
  version: number;
  created_at: string;
  updated_at: string;
  description?: string;
  cover_id?: string;
  cover_url?: string;
}

export interface CollectionPage {
  collections: Collection[];
  total: number;
  has_more: boolean;
}

export interface SavedSearch {
  id: string;
  name: string;
  /** Parameters of the list of assets. */
  query: Record<string, string | number | boolean | string[]>;
  created_at: string;
  updated_at: string;
}

/** How an asset is deleted: its record alone, or with its file, which goes to the trash. */
export type DeletionAction = "remove" | "trash";

/** A use of an asset: of another user's nothing but the kind and the user. */
export interface AssetUse {
  kind: "workflow_version" | "share" | "job" | "reference" | "preview";
  id?: string;
  owner?: string;
  /** Of the workflow, share or asset. */
  name?: string;
  workflow_id?: string;
  version?: number;
  is_latest?: boolean;
  is_running?: boolean;
}

export interface AssetUses {
  uses: AssetUse[];
  has_more: boolean;
}

/** The `details` of the error ASSET_IN_USE. */
export interface AssetInUse {
  id: string;
  name: string;
  used_by: AssetUse[];
  /** Whether `force=true` deletes it anyway. */
  can_force: boolean;
  only_old_versions: boolean;
}

export interface TrashEntry {
  id: string;
  name: string;
  kind: "trashed" | "removed" | "left_out";
  mime_type: string;
  size: number;
  deleted_at: string;
  deleted_by?: string;
  /** The place of its file, or the one that it had. */
  file_path?: string;
  is_missing: boolean;
  hash?: string;
  thumbnail_url?: string;
  /** Whether this user can remove it for good. */
  can_delete: boolean;
}

export interface TrashPage {
  entries: TrashEntry[];
  total: number;
  /** Bytes of their files in the trash. */
  size: number;
  has_more: boolean;
  next_cursor?: string;
}

export interface RestoredAsset {
  asset: Asset;
  /** Whether its file has another path than before. */
  is_renamed: boolean;
}

/** The body of `POST /assets/batch`: either `ids` or `filter`. */
export interface BatchRequest {
  action:
    | "tag"
    | "untag"
    | "rate"
    | "favourite"
    | "add_to_collection"
    | "remove_from_collection"
    | "remove"
    | "trash"
    | "restore";
  ids?: string[];
  /** The filters of the list of assets, with arrays instead of commas. */
  filter?: Record<string, unknown>;
  /** Left out of those that pass `filter`. */
  exclude_ids?: string[];
  /** The order of those that pass `filter`. */
  sort?: string;
  order?: string;
  tags?: string[];
  rating?: number;
  favourite?: boolean;
  collection_id?: string;
  force?: boolean;
  /** Seconds to wait for the end: 0 to 10, 2 by default. */
  wait?: number;
}

export interface BatchResult {
  batch_id: string;
  action: string;
  total: number;
  done: number;
  changed: number;
  failed: number;
  failures: { id: string; code: string; message: string }[];
  /** Once it has ended. */
  can_undo?: boolean;
}

export type TaskStatus = "created" | "running" | "completed" | "failed" | "cancelled";

/** The result of `POST /trash/empty`. */
export interface EmptyTrashResult {
  total: number;
  done: number;
  /** In bytes. */
  freed: number;
  failed: { id: string; code: string; message: string }[];
}

/** The response of a batch and of its undoing, which have `result` while they run as well. */
export interface BatchResponse {
  batch_id: string;
  task_id?: string;
  status: TaskStatus;
  result?: BatchResult;
  error_message?: string;
}

/** A task, such as a batch or an export, with what is known of its result. */
export interface Task {
  id: string;
  status: BatchResponse["status"];
  result?: Partial<BatchResult> & Partial<BundleResult> & {
    export_name?: string;
    progress?: number;
    assets_failed?: number;
  };
  error_message?: string;
}

/** A batch in `GET /assets/batches`, the latest first. */
export interface BatchEntry {
  id: string;
  action: string;
  parameters: { tags?: string[]; rating?: number; favourite?: boolean; collection_id?: string; force?: boolean };
  changed: number;
  created_at: string;
  is_undone: boolean;
}

export type JobStatus = "pending" | "in_progress" | "completed" | "failed" | "cancelled";

export interface ExecutionError {
  exception_type: string;
  exception_message: string;
  node_type: string;
  node_id: string;
  traceback?: string | string[];
}

export interface Job {
  id: string;
  status: JobStatus;
  create_time: number;
  execution_start_time?: number;
  execution_end_time?: number;
  execution_error?: ExecutionError;
  outputs_count?: number;
  preview_output?: { filename?: string; subfolder?: string; type?: string; mediaType?: string };
  workflow_id?: string;
  /** If the workflow is saved. */
  workflow_name?: string;
  /** The first words of the prompt. */
  prompt_text?: string;
  /** Outputs that were deleted from the library. */
  deleted_outputs_count?: number;
}

export interface JobDetail extends Job {
  workflow?: { prompt?: Prompt; extra_data?: { extra_pnginfo?: { workflow?: PageGraph } } };
}

export interface JobPage {
  jobs: Job[];
  pagination: { total: number; next_cursor?: string };
}

export interface NodeProgress {
  state: string;
  value: number;
  max: number;
  display_node_id?: string;
}

export interface JobProgress {
  prompt_id?: string;
  nodes?: Record<string, NodeProgress>;
}

export interface Workflow {
  id: string;
  latest_version: number;
  created_at: string;
  updated_at: string;
  starred: boolean;
  name?: string;
  description?: string;
  /** Of its file in the user's folder: "workflows/video/test.json". */
  path?: string;
  /** Of its latest job. */
  preview_output?: Job["preview_output"];
  /** Of a deleted one. */
  deleted_at?: string;
}

export interface WorkflowFolder {
  path: string;
  /** Of the workflows in it and in the folders in it. */
  count: number;
}

export interface WorkflowList {
  data: Workflow[];
  pagination: { total: number };
  /** In the requested folder. */
  folders?: WorkflowFolder[];
}

export interface WorkflowVersion {
  version: number;
  created_at: string;
}

export interface WorkflowContent extends WorkflowVersion {
  workflow_json: Graph;
  dependency_asset_ids?: string[];
}

/** An asset that may be a file which a workflow names otherwise. */
export interface RequirementMatch {
  asset: Asset;
  match: "hash" | "name";
  /** The name that the nodes would load it by; omitted if it is in no folder of theirs. */
  value?: string;
}

/** A file that a workflow names. */
export interface Requirement {
  name: string;
  kind: "model" | "input";
  status: "present" | "elsewhere" | "missing";
  node_types: string[];
  matches: RequirementMatch[];
  /** Addresses of the web. */
  links: string[];
  hashes: string[];
  stated_category?: string;
  category?: string;
  asset?: Asset;
  size?: number;
}

export interface Requirements {
  version: number;
  requirements: Requirement[];
}

/** A task of a bundle that was started. */
export interface BundleTask {
  task_id: string;
}

/** What was exported or imported, as a result of a task. */
export interface BundleResult {
  export_name: string;
  /** The number of files of an export, or what became of each of an import. */
  assets: number | { path: string; outcome: "have" | "added" | "missing"; note?: string }[];
  included: number;
  problems: string[];
  workflow_id: string;
  workflow_name: string;
  is_new: boolean;
  have: number;
  added: number;
  missing: number;
}

export interface Publication {
  /** Empty if the workflow is not published. */
  share_id: string;
  /** Whether it is read without signing in. */
  open?: boolean;
}

/** The place of the server in its network. */
export interface NetworkPlace {
  /** By which other machines reach it. */
  addresses: string[];
  /** 0 if it is not known. */
  port: number;
  open_to_network: boolean;
  can_open_folders: boolean;
}

export type Role = "admin" | "member" | "guest";

export type Scope = "read" | "write" | "run" | "admin";

/** Who is signed in. */
export interface Login {
  user: string;
  role: Role;
  scopes: Scope[];
  /** How the request was identified; "proxy": for each request anew. */
  kind: "session" | "token" | "proxy";
  has_password: boolean;
}

export interface LoginSession {
  id: string;
  is_current: boolean;
  created_at: string;
  last_used_at: string;
  /** As the browser named itself. */
  browser: string;
  address: string;
}

export interface LoginToken {
  id: string;
  name: string;
  scopes: Scope[];
  /** Null: never. */
  expires_at: string | null;
  last_used_at: string | null;
}

export interface LoginUser {
  id: string;
  name: string;
  role: Role;
  is_disabled: boolean;
  is_current: boolean;
  has_password: boolean;
  last_used_at: string | null;
  max_jobs: QuotaLimit;
  max_bytes: QuotaLimit;
}

/** A user's own quota, or none of their own. */
export type QuotaLimit = number | "unlimited" | "default";

/** What a user takes of their quotas; null on a server for one user. */
export interface UserUse {
  jobs: { used: number; limit: number | null } | null;
  storage: { used: number; limit: number | null } | null;
}

/** A link that signs a user in once: a path and a query below the address of the server. */
export interface LoginLink {
  path: string;
  expires_at: string;
}

export interface SeedStatus {
  status: "idle" | "running" | "completed" | "failed" | "cancelled";
  phase: "idle" | "listing" | "hashing";
  on_hold: boolean;
  paused?: boolean;
  scanned?: number;
  total?: number;
  hashed?: number;
  bytes_hashed?: number;
  bytes_total?: number;
  bytes_per_second?: number;
  /** How many files and folders could not be listed; `problem_details` has the first ones. */
  problems?: number;
  problem_details?: ScanProblem[];
  unreadable?: number;
  error_message?: string;
}

/** What a scan could not list. `detail` is the system's message, or the kinds of files behind a link. */
export interface ScanProblem {
  path: string;
  code: string;
  detail: string;
  message: string;
}

/** The end of a scan, or other changes of assets, for which ComfyUI's page listens too. */
export interface ChangesShown {
  source?: "scan" | "changes";
  phase?: "fast" | "enrich" | "full";
  total?: number;
  scanned?: number;
}

/** The texts of all node packs: language, then name of the pack, then nested keys. */
export type I18n = Record<string, Record<string, Texts>>;

export interface Texts {
  [key: string]: string | Texts;
}

/** The body of a route's response, where a route is a method and a path without a query. */
export type ApiBody<Route extends string> = Route extends "GET /assets" ? AssetPage
  : Route extends "GET /assets/seed/status" ? SeedStatus
  : Route extends "GET /assets/facets" ? Facets
  : Route extends "GET /assets/days" ? DayPage
  : Route extends "GET /assets/folders" ? FolderPage
  : Route extends "POST /assets/batch" | `POST /assets/batch/${string}/undo` ? BatchResponse
  : Route extends "POST /assets/export" ? { task_id: string }
  : Route extends `GET /assets/exports/${string}` ? { url: string; expires_at: string }
  : Route extends `GET /tasks/${string}` ? Task
  : Route extends "GET /assets/tags/refine" ? { tag_counts: Record<string, number> }
  : Route extends "GET /assets/batches" ? { batches: BatchEntry[] }
  : Route extends `GET /assets/${string}/uses` ? AssetUses
  : Route extends "GET /trash" ? TrashPage
  : Route extends "POST /trash/empty" ? { task_id: string; status: TaskStatus }
  : Route extends `POST /trash/${string}/restore` ? RestoredAsset
  : Route extends `POST /assets/${string}/tags` ? { added: string[]; total_tags: string[] }
  : Route extends `DELETE /assets/${string}/tags` ? { removed: string[]; total_tags: string[] }
  : Route extends `${"GET" | "PUT"} /assets/${string}` ? Asset
  : Route extends "GET /collections" ? CollectionPage
  : Route extends `DELETE /collections/${string}/assets`
    ? { removed: number; not_present: number; collection: Collection }
  : Route extends `POST /collections/${string}/assets`
    ? { added: number; already_present: number; collection: Collection }
  : Route extends `POST /collections/${string}/order` ? Collection
  : Route extends `DELETE /collections/${string}` ? null
  : Route extends `${"GET" | "POST" | "PATCH"} /collections${string}` ? Collection
  : Route extends "GET /saved-searches" ? { saved_searches: SavedSearch[]; total: number }
  : Route extends `DELETE /saved-searches/${string}` ? null
  : Route extends `${"GET" | "POST" | "PUT"} /saved-searches${string}` ? SavedSearch
  : Route extends "GET /tags" ? { tags: { name: string; count: number }[] }
  : Route extends "GET /jobs" ? JobPage
  : Route extends `GET /jobs/${string}/assets` ? { assets: Asset[] }
  : Route extends `GET /jobs/${string}/progress` ? JobProgress
  : Route extends `GET /jobs/${string}` ? JobDetail
  : Route extends "POST /prompt" ? { prompt_id: string }
  : Route extends "GET /workflows" ? WorkflowList
  : Route extends `GET /workflows/${string}/content` ? WorkflowContent
  : Route extends `GET /workflows/${string}/requirements` ? Requirements
  : Route extends `POST /workflows/${string}/relink` ? WorkflowVersion
  : Route extends `POST /workflows/${string}/export` ? BundleTask
  : Route extends `GET /workflows/${string}/versions/${string}` ? WorkflowContent
  : Route extends `GET /workflows/${string}/versions` ? { data: WorkflowVersion[] }
  : Route extends `POST /workflows/${string}/versions` ? WorkflowVersion
  : Route extends `DELETE /workflows/${string}` ? null
  : Route extends `${"GET" | "POST" | "PATCH"} /workflows${string}` ? Workflow
  : Route extends `${"GET" | "POST"} /userdata/${string}/publish` ? Publication
  : Route extends "GET /models" ? string[]
  : Route extends "GET /network" ? NetworkPlace
  : Route extends `POST /assets/${string}/show-in-folder` ? null
  : Route extends "GET /features" ? { open_to_network?: boolean; login_enabled?: boolean }
  : Route extends "GET /login" ? Login
  : Route extends "POST /login" ? { user: string }
  : Route extends "GET /login/sessions" ? { sessions: LoginSession[] }
  : Route extends "GET /login/tokens" ? { tokens: LoginToken[] }
  : Route extends "POST /login/tokens" ? { token: string; record: LoginToken }
  : Route extends "POST /login/links" | `POST /login/users/${string}/links` ? LoginLink
  : Route extends `GET /login/users/${string}/use` ? UserUse
  : Route extends "GET /login/users" ? { users: LoginUser[] }
  : Route extends `${"POST" | "PATCH"} /login/users${string}` ? LoginUser
  : Route extends `GET /object_info/${string}` ? Record<string, NodeDefinition>
  : Route extends "GET /i18n" ? I18n
  : unknown;

/** Messages over the websocket, by their type. */
export interface ServerMessages {
  /** Of the page itself: the connection was lost. */
  reconnecting: unknown;
  /** Of the page itself: the connection is there again. What was sent meanwhile is lost. */
  reconnected: unknown;
  "assets.changed": unknown;
  "collections.changed": unknown;
  "saved_searches.changed": unknown;
  "workflows.changed": unknown;
  "assets.seed.started": unknown;
  "assets.seed.progress": SeedStatus;
  "assets.seed.completed": ChangesShown | null;
  "assets.seed.cancelled": unknown;
  "assets.seed.fast_complete": ChangesShown | null;
  status: unknown;
  execution_start: { prompt_id: string };
  execution_success: { prompt_id: string };
  execution_error: { prompt_id: string };
  execution_interrupted: { prompt_id: string };
  progress: { prompt_id: string; node: string; value: number; max: number };
  progress_state: { prompt_id: string; nodes: Record<string, NodeProgress> };
}
