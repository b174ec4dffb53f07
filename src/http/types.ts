import type { FastifyInstance } from 'fastify';
import type { AgentApi } from '../contract/api.ts';

/** What `/metrics` answers with, and who is told of each request. */
export interface MetricsPage {
  readonly contentType: string;
  text(): Promise<string>;
  /** `route` is the pattern, or null for a path that is none of ours. */
  requested(method: string, route: string | null, status: number, durationMs: number): void;
}

export interface RouteDeps {
  readonly api: AgentApi;
  readonly version: string;
  readonly metrics?: MetricsPage;
}

/** Adds the routes of one subject. */
export type Routes = (app: FastifyInstance, deps: RouteDeps) => void;
