/** Every question that the console asks. A test compares them with the hub's schema. */
const PLACE = "provider endpoint region bucket prefix credential profile url";
const COST = "cost { usd requestsUsd egressUsd estimate pricesOf notPriced missing { name value } }";
const RUN_ROW = "id kind state startedAt endedAt found done skipped failed bytes reconciles exitCode";
const RUN = `id kind state startedAt endedAt listed { source destination } found foundBytes done skipped failed bytes
  deleted undecided notSelected bytesPerSecond objectsPerSecond etaSeconds reasons { name label count bytes }
  failures { code label hint count final retriable examples } proofs { name label count bytes }
  requests { side operation count } ${COST} exitCode reconciles`;
const RECORD = `key destKey outcome reason size verifiedBy sourceEtag destEtag attempts code label error runId at
  image { repository tag digest platforms referrers bytes mounted }`;
const FACTS = "size etag modifiedAt storageClass versionId checksum";
const PLAN = `id state listed { source destination } copies bytes deletes reasons { name label count bytes }
  sizes { name label count bytes } samples { action key destKey size reason }
  warnings { level code title detail hint link count values { name value } } ${COST} secondsAtRate error errorCode`;
const CHECK = "id state findings { name question answer ok hint code } missingPermissions policy";

export const HUB = `query {
  hub { kind version user canWrite demo pollSeconds regions(provider: "Amazon_S3") providers { name label endpointNeeded notes } }
}`;
export const SETTINGS = `query($type: TaskType!) {
  settings(type: $type) { name settings { name guideName title help kind choices low high default advanced } }
}`;
export const TASKS = `query($filter: TaskFilter, $sort: TaskSort, $limit: Int, $after: String) {
  tasks(filter: $filter, sort: $sort, limit: $limit, after: $after) {
    total after counts { name count }
    items {
      id name type state createdAt schedule nextRunAt lagSeconds source { ${PLACE} } destination { ${PLACE} }
      problems { level code title }
      latest { id kind state startedAt endedAt found foundBytes done skipped failed bytes bytesPerSecond etaSeconds reconciles ${COST} }
    }
  }
}`;
export const TASK = `query($id: ID!) {
  getTask(id: $id) {
    id name type state description revision createdAt schedule nextRunAt lagSeconds command
    source { ${PLACE} } destination { ${PLACE} } settings { name value } parameters { ParameterKey ParameterValue }
    problems { level code title detail hint link count values { name value } }
    queue { waiting inHand deadLetters oldestSeconds }
    workers { name host pid state objectsInFlight bytesInFlight bytesPerSecond objectsPerSecond cpu memory since seenAt }
    latest { ${RUN} }
    runs(limit: 20) { after items { ${RUN_ROW} } }
  }
}`;
export const SERIES = `query($taskId: ID!, $names: [SeriesName!]!, $from: AWSDateTime) {
  series(taskId: $taskId, names: $names, from: $from, points: 120) { name unit t v }
}`;
export const RECORDS = `query($taskId: ID!, $runId: ID, $outcomes: [Outcome!], $code: String, $prefix: String, $limit: Int, $after: String) {
  records(taskId: $taskId, runId: $runId, outcomes: $outcomes, code: $code, prefix: $prefix, limit: $limit, after: $after) {
    total after items { ${RECORD} }
  }
}`;
export const STORY = `query($taskId: ID!, $key: String!) {
  story(taskId: $taskId, key: $key) { key rule code setting action source { ${FACTS} } destination { ${FACTS} } sourceError destinationError records { ${RECORD} } }
}`;
export const LOGS = `query($taskId: ID!, $process: String, $level: LogLevel, $contains: String, $limit: Int, $after: String) {
  logs(taskId: $taskId, process: $process, level: $level, contains: $contains, limit: $limit, after: $after) {
    after streaming items { at level process code text }
  }
}`;
export const REVISIONS = `query($taskId: ID!) {
  revisions(taskId: $taskId, limit: 20) { items { revision savedAt changes { name before after } } }
}`;
export const SPELLINGS = "query($taskId: ID!) { spellings(taskId: $taskId) { command jobFile template } }";
export const LOCATIONS = `query { locations { side location { ${PLACE} } tasks lastCheck { at state ok } } }`;
export const SECRETS = "query { listSecrets { name description } }";
export const GET_PLAN = `query($id: ID!) { plan(id: $id) { ${PLAN} } }`;
export const GET_CHECK = `query($id: ID!) { check(id: $id) { ${CHECK} } }`;

export const PLAN_TASK = `mutation($input: TaskInput!) { planTask(input: $input) { ${PLAN} } }`;
export const CHECK_LOCATION = `mutation($input: LocationInput!) { checkLocation(input: $input) { ${CHECK} } }`;
export const SAVE_TASK = `mutation($input: TaskInput!, $id: ID, $revision: Int, $run: Boolean) {
  saveTask(input: $input, id: $id, revision: $revision, run: $run) { id revision state }
}`;
export const RUN_TASK =
  "mutation($id: ID!, $planId: ID, $verify: Boolean) { runTask(id: $id, planId: $planId, verify: $verify) { id } }";
export const START_DEMO = "mutation { startDemo { id } }";
export const PAUSE_TASK = "mutation($id: ID!) { pauseTask(id: $id) { id state } }";
export const RESUME_TASK = "mutation($id: ID!) { resumeTask(id: $id) { id state } }";
export const STOP_TASK = "mutation($id: String) { stopTask(id: $id) { id state } }";
export const LIMIT_TASK = `mutation($id: ID!, $bandwidth: Float, $workers: Int) {
  limitTask(id: $id, bandwidth: $bandwidth, workers: $workers) { id revision }
}`;
export const VERIFY_TASK = "mutation($id: ID!, $download: Boolean) { verifyTask(id: $id, download: $download) { id } }";
export const REDRIVE_TASK = `mutation($id: ID!, $codes: [String!], $runId: ID) {
  redriveTask(id: $id, codes: $codes, runId: $runId) { id }
}`;
export const DELETE_TASK =
  "mutation($id: ID!, $keepRecords: Boolean) { deleteTask(id: $id, keepRecords: $keepRecords) }";
