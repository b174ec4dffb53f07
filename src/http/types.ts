import type { FastifyInstance } from 'fastify';
import type { AgentApi } from '../contract/api.ts';
import type { Feed } from './feed.ts';

/** What `/metrics` answers with, and who is told of each request. */
export interface MetricsPage {
  readonly contentType: string;
  text(): Promise<string>;
  /** `route` is the pattern, or null for a path that is none of ours. */
  requested(method: string, route: string | null, status: number, durationMs: number): void;
  /** `code` is that of the problem document that was answered. */
  refused(code: string): void;
  /** A client begins to listen to server-sent events; to be called when it ends. */
  listening(): () => void;
}

export interface RouteDeps {
  readonly api: AgentApi;
  readonly version: string;
  readonly metrics?: MetricsPage;
  /** What `/api/v1/events` tells. */
  readonly feed?: Feed;
  /** Fires when the server stops: answers without an end have to end. */
  readonly stopping: AbortSignal;
}

/** Adds the routes of one subject. */
export type Routes = (app: FastifyInstance, deps: RouteDeps) => void;
