import { Type } from '@sinclair/typebox';
import { ModelAborted, ModelInstallArgs, ModelServes } from '../model.ts';
import { closed } from '../schema-parts.ts';
import { ModelState } from '../states.ts';
import { json, STORE_READ, STORE_WRITE, type Operation } from './operation.ts';
import { InstallBegun } from './views.ts';

/** As the command; without a source it is the repository. */
export const InstallBody = Type.Composite(
  [
    Type.Omit(ModelInstallArgs, ['source']),
    Type.Object({ source: Type.Optional(ModelInstallArgs.properties.source) }),
  ],
  { ...closed, title: 'InstallRequest' },
);

const Serves = { ...ModelServes, title: 'ModelServes' } as typeof ModelServes;
const Aborted = { ...ModelAborted, title: 'ModelAborted' } as typeof ModelAborted;

/** Why another model, or another process of the same, did not start. */
const START = [
  'model_not_found',
  'model_manifest_invalid',
  'model_bundle_refused',
  'model_unsigned',
  'model_digest_mismatch',
  'model_requires',
  'model_golden_mismatch',
  'model_out_of_memory',
  'provider_unavailable',
  'vision_start_failed',
  'vision_crashed',
  'vision_timeout',
  'vision_closed',
] as const;

export const MODEL_OPERATIONS = {
  modelInfo: {
    method: 'GET',
    path: '/api/v1/models/info',
    tag: 'models',
    summary: 'The slots, the active model, the install in hand or the last one, and what is refused.',
    answers: [json(200, 'As on `model/state` over MQTT.', ModelState)],
    errors: STORE_READ,
  },
  modelInstall: {
    method: 'POST',
    path: '/api/v1/models/install',
    tag: 'models',
    summary: 'Begins to install a model.',
    description:
      'Answered when the request is stored: how it goes on stands in `/api/v1/models/info` and `/api/v1/events`.',
    body: { contentType: 'application/json', schema: InstallBody },
    answers: [json(202, 'It has begun.', InstallBegun)],
    errors: [
      'model_install_busy',
      'model_pinned',
      'model_no_repository',
      'model_refused_before',
      ...STORE_WRITE,
    ],
  },
  modelAbort: {
    method: 'POST',
    path: '/api/v1/models/abort',
    tag: 'models',
    summary: 'Stops the install in hand.',
    answers: [json(200, 'It has ended; the former model serves.', Aborted)],
    errors: ['model_install_none', ...STORE_WRITE],
  },
  modelRollback: {
    method: 'POST',
    path: '/api/v1/models/rollback',
    tag: 'models',
    summary: 'Back to the former model, without network.',
    answers: [json(200, 'What serves now.', Serves)],
    errors: ['model_no_previous', 'model_install_busy', 'model_pinned', ...START, ...STORE_WRITE],
  },
  modelReload: {
    method: 'POST',
    path: '/api/v1/models/reload',
    tag: 'models',
    summary: 'The model that serves, in a new process. No frame and no request is lost.',
    answers: [json(200, 'What serves now.', Serves)],
    errors: ['model_install_busy', ...START],
  },
} as const satisfies Record<string, Operation>;
