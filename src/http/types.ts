import type { FastifyInstance } from 'fastify';
import type { AgentApi } from '../contract/api.ts';

export interface RouteDeps {
  readonly api: AgentApi;
  readonly version: string;
}

/** Adds the routes of one subject. */
export type Routes = (app: FastifyInstance, deps: RouteDeps) => void;
