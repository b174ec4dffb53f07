import { Type } from '@sinclair/typebox';
import { ModelAborted, ModelInstallArgs, ModelServes } from '../model.ts';
import { closed } from '../schema-parts.ts';
import { ModelState } from '../states.ts';
import { jsonAnswer, STORE_READ_ERRORS, STORE_WRITE_ERRORS, operations } from './operation.ts';
import { InstallBegun } from './views.ts';

/** The arguments of the command `model.install`. The default source is the repository. */
export const InstallBody = Type.Composite(
  [
    Type.Omit(ModelInstallArgs, ['source']),
    Type.Object({ source: Type.Optional(ModelInstallArgs.properties.source) }),
  ],
  { ...closed, title: 'InstallRequest' },
);

const Serves = { ...ModelServes, title: 'ModelServes' } as typeof ModelServes;
const Aborted = { ...ModelAborted, title: 'ModelAborted' } as typeof ModelAborted;

const START_ERRORS = [
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

export const MODEL_OPERATIONS = operations('models', {
  modelInfo: {
    method: 'GET',
    path: '/api/v1/models/info',
    summary: 'Returns the slots, the active model, the current or last install, and refused models.',
    answers: [jsonAnswer(200, 'The same document as on the MQTT topic `model/state`.', ModelState)],
    errors: STORE_READ_ERRORS,
  },
  modelInstall: {
    method: 'POST',
    path: '/api/v1/models/install',
    summary: 'Starts to install a model.',
    description:
      'The response is sent when the request is stored. `/api/v1/models/info` and `/api/v1/events` report the progress.',
    body: { contentType: 'application/json', schema: InstallBody },
    answers: [jsonAnswer(202, 'The install has started.', InstallBegun)],
    errors: [
      'model_install_busy',
      'model_pinned',
      'model_no_repository',
      'model_refused_before',
      ...STORE_WRITE_ERRORS,
    ],
  },
  modelAbort: {
    method: 'POST',
    path: '/api/v1/models/abort',
    summary: 'Stops the current install.',
    answers: [jsonAnswer(200, 'The install has ended; the previous model is active.', Aborted)],
    errors: ['model_install_none', ...STORE_WRITE_ERRORS],
  },
  modelRollback: {
    method: 'POST',
    path: '/api/v1/models/rollback',
    summary: 'Activates the previous model, without network.',
    answers: [jsonAnswer(200, 'The active model.', Serves)],
    errors: [
      'model_no_previous',
      'model_install_busy',
      'model_pinned',
      'command_timeout',
      ...START_ERRORS,
      ...STORE_WRITE_ERRORS,
    ],
  },
  modelReload: {
    method: 'POST',
    path: '/api/v1/models/reload',
    summary: 'Restarts the active model in a new process. No frame and no request is lost.',
    answers: [jsonAnswer(200, 'The active model.', Serves)],
    errors: ['model_install_busy', 'command_timeout', ...START_ERRORS],
  },
});
