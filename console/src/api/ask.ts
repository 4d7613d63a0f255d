/** What the hub, or the way to it, answered instead of data. `code` is a stable word, `hint` says what to do. */
export class HubError extends Error {
  readonly code: string;
  readonly hint: string;

  constructor(code: string, message: string, hint = "") {
    super(message);
    this.code = code;
    this.hint = hint;
  }
}

type Told = { data?: unknown; errors?: { message: string; extensions?: { code?: string; hint?: string } }[] };

const HEADERS = { "content-type": "application/json", "x-dth-hub": "1" };
const WAIT_MILLISECONDS = 60_000;

/** Sends JSON and returns the JSON answer. Throws HubError; its code is `offline` where no answer came. */
export async function post(path: string, body: unknown, signal?: AbortSignal): Promise<Told> {
  const late = AbortSignal.timeout(WAIT_MILLISECONDS);
  let answer: Response;
  let told: Told;
  try {
    answer = await fetch(path, {
      method: "POST",
      headers: HEADERS,
      body: JSON.stringify(body),
      credentials: "same-origin",
      signal: signal ? AbortSignal.any([signal, late]) : late,
    });
    told = (await answer.json()) as Told;
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new HubError("offline", "The hub does not answer.");
  }
  const first = told.errors?.[0];
  if (first) {
    const code = answer.status === 401 ? "not_signed_in" : (first.extensions?.code ?? "error");
    throw new HubError(code, first.message, first.extensions?.hint);
  }
  if (!answer.ok) throw new HubError("error", `HTTP ${answer.status}`);
  return told;
}

/** Asks one question in GraphQL. */
export async function ask<T>(query: string, variables: Record<string, unknown> = {}, signal?: AbortSignal): Promise<T> {
  return (await post("/graphql", { query, variables }, signal)).data as T;
}

export type Door = { signedIn: boolean; user: string | null; ways: string[] };

/** Whether one is signed in, and how one may. */
export async function door(): Promise<Door> {
  try {
    const answer = await fetch("/login", {
      credentials: "same-origin",
      signal: AbortSignal.timeout(WAIT_MILLISECONDS),
    });
    return (await answer.json()) as Door;
  } catch {
    throw new HubError("offline", "The hub does not answer.");
  }
}
