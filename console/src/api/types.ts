/** The parts of the hub's schema (`dth/hub/schema.graphql`) that the console asks for. */
export type TaskType = "S3EC2" | "ECR";
export const TASK_STATES = [
  "DRAFT",
  "STARTING",
  "RUNNING",
  "WAITING",
  "PAUSED",
  "STOPPING",
  "STOPPED",
  "DONE",
  "FAILED",
] as const;
export type TaskState = (typeof TASK_STATES)[number];
export type Level = "ERROR" | "WARNING" | "INFO" | "DEBUG";
export type Pair = { name: string; value: string };
export type Tally = { name: string; label: string; count: number; bytes: number | null };
export type Place = {
  provider: string;
  endpoint: string | null;
  region: string | null;
  bucket: string;
  prefix: string;
  credential: string | null;
  profile: string | null;
  url: string;
};
export type Problem = {
  level: Level;
  code: string;
  title: string;
  detail: string;
  hint: string | null;
  link: string | null;
  count: number;
  values: Pair[];
};
export type Failure = {
  code: string;
  label: string;
  hint: string | null;
  count: number;
  final: boolean;
  retriable: boolean;
  examples: string[];
};
export type Cost = {
  usd: number;
  requestsUsd: number;
  egressUsd: number | null;
  estimate: boolean;
  pricesOf: string;
  notPriced: string[];
  missing: Pair[];
};
export type RunKind = "SYNC" | "VERIFY" | "PLAN" | "REDRIVE" | "IMAGES" | "EVENTS";
export type RunState = "LISTING" | "SEALED" | "OVER" | "ABANDONED" | "STANDING";
export type Run = {
  id: string;
  kind: RunKind;
  state: RunState;
  startedAt: string;
  endedAt: string | null;
  listed: { source: number; destination: number };
  found: number | null;
  foundBytes: number | null;
  done: number;
  skipped: number;
  failed: number;
  bytes: number;
  deleted: number;
  undecided: number;
  notSelected: number;
  bytesPerSecond: number | null;
  objectsPerSecond: number | null;
  etaSeconds: number | null;
  reasons: Tally[];
  failures: Failure[];
  proofs: Tally[];
  requests: { side: string; operation: string; count: number }[];
  cost: Cost | null;
  exitCode: number | null;
  reconciles: boolean | null;
};
export type RunRow = Pick<
  Run,
  | "id"
  | "kind"
  | "state"
  | "startedAt"
  | "endedAt"
  | "found"
  | "done"
  | "skipped"
  | "failed"
  | "bytes"
  | "reconciles"
  | "exitCode"
>;
export type Worker = {
  name: string;
  host: string;
  pid: number | null;
  state: "STARTING" | "WORKING" | "IDLE" | "DRAINING" | "LOST";
  objectsInFlight: number;
  bytesInFlight: number;
  bytesPerSecond: number;
  objectsPerSecond: number;
  cpu: number | null;
  memory: number | null;
  since: string;
  seenAt: string;
};
export type TaskRow = {
  id: string;
  name: string | null;
  type: TaskType;
  state: TaskState;
  createdAt: string;
  schedule: string | null;
  nextRunAt: string | null;
  lagSeconds: number | null;
  source: Place | null;
  destination: Place | null;
  problems: Pick<Problem, "level" | "code" | "title">[];
  latest: Pick<
    Run,
    | "id"
    | "kind"
    | "state"
    | "startedAt"
    | "endedAt"
    | "found"
    | "foundBytes"
    | "done"
    | "skipped"
    | "failed"
    | "bytes"
    | "bytesPerSecond"
    | "etaSeconds"
    | "reconciles"
    | "cost"
  > | null;
};
export type Task = Omit<TaskRow, "latest" | "problems"> & {
  description: string | null;
  revision: number;
  settings: Pair[];
  parameters: { ParameterKey: string; ParameterValue: string }[];
  latest: Run | null;
  workers: Worker[];
  queue: { waiting: number; inHand: number; deadLetters: number; oldestSeconds: number | null } | null;
  problems: Problem[];
  runs: { items: RunRow[]; after: string | null };
  command: string | null;
};
export type TaskPage = {
  items: TaskRow[];
  after: string | null;
  total: number;
  counts: { name: string; count: number }[];
};
export type SettingKind =
  | "FLAG"
  | "SIZE"
  | "LIST"
  | "CHOICE"
  | "TIME"
  | "INTEGER"
  | "NUMBER"
  | "TEXT"
  | "CREDENTIAL"
  | "BUCKET"
  | "REGION"
  | "SCHEDULE";
export type Setting = {
  name: string;
  guideName: string | null;
  title: string;
  help: string;
  kind: SettingKind;
  choices: string[];
  low: number | null;
  high: number | null;
  default: string | null;
  advanced: boolean;
};
export type Panel = { name: string; settings: Setting[] };
export type Hub = {
  kind: "LOCAL" | "AWS";
  version: string;
  user: string;
  canWrite: boolean;
  demo: boolean;
  pollSeconds: number;
  providers: { name: string; label: string; endpointNeeded: boolean; notes: string[] }[];
  regions: string[];
};
export type AnswerState = "LISTING" | "READY" | "FAILED" | "CANCELLED";
export type Plan = {
  id: string;
  state: AnswerState;
  listed: { source: number; destination: number };
  copies: number;
  bytes: number;
  deletes: number;
  reasons: Tally[];
  sizes: Tally[];
  samples: { action: string; key: string; destKey: string; size: number; reason: string }[];
  warnings: Problem[];
  cost: Cost | null;
  secondsAtRate: number | null;
  error: string | null;
  errorCode: string | null;
};
export type Check = {
  id: string;
  state: AnswerState;
  findings: { name: string; question: string; answer: string; ok: boolean; hint: string | null; code: string | null }[];
  missingPermissions: string[];
  policy: string | null;
};
export type Outcome = "DONE" | "SKIPPED" | "FAILED";
export type ObjectRecord = {
  key: string;
  destKey: string | null;
  outcome: Outcome;
  reason: string | null;
  size: number | null;
  verifiedBy: string | null;
  sourceEtag: string | null;
  destEtag: string | null;
  attempts: number;
  code: string | null;
  label: string | null;
  error: string | null;
  runId: string;
  at: string | null;
  image: {
    repository: string;
    tag: string | null;
    digest: string;
    platforms: string[];
    referrers: number;
    bytes: number;
    mounted: number;
  } | null;
};
export type Facts = {
  size: number;
  etag: string;
  modifiedAt: string | null;
  storageClass: string | null;
  versionId: string | null;
  checksum: string | null;
};
export type Story = {
  key: string;
  rule: string;
  code: string;
  setting: string | null;
  action: string;
  source: Facts | null;
  destination: Facts | null;
  sourceError: string | null;
  destinationError: string | null;
  records: ObjectRecord[];
};
export type Series = { name: string; unit: string; t: number[]; v: (number | null)[] };
export type LogLine = { at: string; level: Level; process: string; code: string | null; text: string };
export type LogPage = { items: LogLine[]; after: string | null; streaming: boolean };
export type Revision = {
  revision: number;
  savedAt: string;
  changes: { name: string; before: string | null; after: string | null }[];
};
export type Spellings = { command: string; jobFile: string; template: string };
export type SavedLocation = {
  side: string;
  location: Place;
  tasks: number;
  lastCheck: { at: string; state: AnswerState; ok: boolean } | null;
};
