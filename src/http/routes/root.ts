import { PAGE_OPERATIONS } from '../../contract/openapi/health-operations.ts';
import { OPERATIONS } from '../../contract/openapi/operations.ts';
import { startPage } from '../docs-page.ts';
import { answer } from '../route.ts';
import type { Routes } from '../types.ts';
import { addVary } from '../vary.ts';

/** `GET /`: what this is, for whoever finds the port. */
export const rootRoutes: Routes = (app, { version }) => {
  answer(app, PAGE_OPERATIONS.root, ({ request }, reply) => {
    addVary(reply, 'Accept');
    // Only browsers name it.
    if (/\btext\/html\b/i.test(request.headers.accept ?? ''))
      return reply.type('text/html; charset=utf-8').send(startPage(version));
    return {
      name: 'swellsight' as const,
      version,
      about: 'An edge agent that reads wave heights from a fixed surf camera.',
      docs: '/docs',
      openapi: '/openapi.json',
      paths: [...new Set(Object.values(OPERATIONS).map(({ path }) => path))],
    };
  });
};
