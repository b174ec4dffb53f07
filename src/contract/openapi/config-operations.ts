import { Type } from '@sinclair/typebox';
import { CameraTestRequest, CameraTestResult } from '../camera-test.ts';
import { COMMAND_ARGS } from '../command.ts';
import { ConfigChange, ConfigConfirmed, ConfigDropped, ConfigView, ConfigWithdrawn } from '../config.ts';
import { DoctorReport } from '../doctor.ts';
import { closed } from '../schema-parts.ts';
import { Info } from '../states.ts';
import { jsonAnswer, operations } from './operation.ts';

const View = { ...ConfigView, title: 'ConfigView' } as typeof ConfigView;
const Change = { ...ConfigChange, title: 'ConfigChange' } as typeof ConfigChange;
const Confirmed = { ...ConfigConfirmed, title: 'ConfigConfirmed' } as typeof ConfigConfirmed;
const Patch = {
  ...COMMAND_ARGS['config.set'],
  title: 'ConfigPatchRequest',
} as (typeof COMMAND_ARGS)['config.set'];
const Confirm = {
  ...COMMAND_ARGS['config.confirm'],
  title: 'ConfigConfirmRequest',
} as (typeof COMMAND_ARGS)['config.confirm'];

/** The same rules hold as for the commands `config.get`, `config.set` and `config.confirm`. */
export const CONFIG_OPERATIONS = operations('configuration', {
  config: {
    method: 'GET',
    path: '/api/v1/config',
    summary:
      'Returns the settings in force, those of remote commands, and the change on trial; without secrets.',
    answers: [jsonAnswer(200, 'The result of the command `config.get`.', View)],
  },
  configPatch: {
    method: 'PATCH',
    path: '/api/v1/config',
    summary: 'Changes settings, on trial until the change is confirmed.',
    description:
      'Does what the command `config.set` does; docs/remote-configuration.md explains the patch. Without a confirmation in ' +
      'time, the change is undone: also one with which the client can no longer reach the agent.',
    body: { contentType: 'application/json', schema: Patch },
    answers: [jsonAnswer(200, 'The change; it begins after this response.', Change)],
    errors: ['config_busy', 'config_locked', 'config_invalid', 'store_failed'],
  },
  configConfirm: {
    method: 'POST',
    path: '/api/v1/config/confirm',
    summary: 'Makes the change on trial permanent.',
    body: { contentType: 'application/json', schema: Confirm },
    answers: [jsonAnswer(200, 'The change is stored.', Confirmed)],
    errors: ['config_busy', 'config_trial_unknown', 'store_failed'],
  },
  configWithdraw: {
    method: 'DELETE',
    path: '/api/v1/config/trial',
    summary: 'Undoes the change on trial now.',
    query: Type.Object(
      {
        trial: Type.Optional(
          Type.String({
            minLength: 1,
            maxLength: 64,
            description: 'its id; without it, any change on trial',
          }),
        ),
      },
      closed,
    ),
    answers: [jsonAnswer(200, 'The former settings apply again after this response.', ConfigWithdrawn)],
    errors: ['config_trial_unknown'],
  },
  configDrop: {
    method: 'DELETE',
    path: '/api/v1/config/remote',
    summary: 'Removes settings of remote commands, so that file and environment apply again.',
    description:
      'Undoes a change on trial. The parts that the change concerns apply it, or all parts restart.',
    query: Type.Object(
      {
        key: Type.Optional(
          Type.String({
            minLength: 1,
            maxLength: 200,
            description: 'a key, a group, or `cameras.ID`; without it, all settings of remote commands',
          }),
        ),
      },
      closed,
    ),
    answers: [jsonAnswer(200, 'The settings are removed.', ConfigDropped)],
    errors: ['config_invalid', 'config_locked', 'store_failed'],
  },
  cameraTest: {
    method: 'POST',
    path: '/api/v1/cameras/test',
    summary: 'Takes one frame with settings of a camera that are not saved.',
    description:
      'What remote commands may not set cannot be tested either. A camera without a frame is a result with a `problem`, not ' +
      'an error. One test runs at a time, and takes 30 s at most.',
    body: { contentType: 'application/json', schema: CameraTestRequest },
    answers: [jsonAnswer(200, 'The frame, or why there is none.', CameraTestResult)],
    errors: ['capture_busy', 'config_locked', 'config_invalid'],
  },
  doctor: {
    method: 'GET',
    path: '/api/v1/doctor',
    summary: 'Checks the device and the running agent, and returns what to do about each fault.',
    description:
      'It uses what the agent knows of its cameras, model and broker, and takes no frame: `swellsight doctor` checks more.',
    answers: [jsonAnswer(200, 'The findings; docs/doctor.md lists the checks.', DoctorReport)],
    errors: ['command_timeout'],
  },
  info: {
    method: 'GET',
    path: '/api/v1/info',
    summary: 'Describes the device and the agent.',
    answers: [jsonAnswer(200, 'The same document as on the MQTT topic `info`.', Info)],
  },
});
