import { keepPreviousData, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { ask, type HubError } from "./ask";
import { HUB, SETTINGS, TASK } from "./questions";
import type { Hub, Panel, Task, TaskType } from "./types";

type Options = { poll?: boolean; enabled?: boolean; keep?: boolean; stale?: number };

/** One question, asked again every few seconds where `poll` is set and the tab can be seen. */
export function useAsk<T>(query: string, variables: Record<string, unknown> = {}, options: Options = {}) {
  const hub = useQueryClient().getQueryData<{ hub: Hub }>([HUB, {}]);
  const every = (hub?.hub.pollSeconds ?? 2) * 1000;
  return useQuery<T, HubError>({
    queryKey: [query, variables],
    queryFn: ({ signal }) => ask<T>(query, variables, signal),
    refetchInterval: options.poll ? every : false,
    enabled: options.enabled ?? true,
    staleTime: options.stale ?? 0,
    ...(options.keep ? { placeholderData: keepPreviousData } : {}),
  });
}

export function useHub(): Hub | undefined {
  return useAsk<{ hub: Hub }>(HUB, {}, { stale: 60_000 }).data?.hub;
}

export function usePanels(type: TaskType) {
  return useAsk<{ settings: Panel[] }>(SETTINGS, { type }, { stale: Number.POSITIVE_INFINITY });
}

export function useTask(id: string, poll = true) {
  const asked = useAsk<{ getTask: Task | null }>(TASK, { id }, { poll, enabled: id !== "" });
  return { ...asked, task: asked.data?.getTask };
}

/** One change. Whatever is on the page is asked anew afterwards. */
export function useChange<T = unknown>(query: string) {
  const client = useQueryClient();
  return useMutation<T, HubError, Record<string, unknown>>({
    mutationFn: (variables) => ask<T>(query, variables),
    onSettled: () => client.invalidateQueries(),
  });
}
