import { Type } from '@sinclair/typebox';
import { ClipDuration, SeaStateRecord } from '../sea-state.ts';
import { closed } from '../schema-parts.ts';
import { CsvQuery, ObservationsQuery } from './history-operations.ts';
import {
  CameraParams,
  jsonAnswer,
  mediaAnswer,
  operations,
  STORE_READ_ERRORS,
  STORE_WRITE_ERRORS,
} from './operation.ts';
import { SeaStatePage } from './views.ts';

const pageQuery = Type.Pick(ObservationsQuery, ['from', 'to', 'limit', 'cursor'], closed);
const tableQuery = Type.Pick(CsvQuery, ['from', 'to', 'limit'], closed);

const PictureParams = Type.Object(
  {
    ...CameraParams.properties,
    record: Type.String({ minLength: 1, maxLength: 64, description: '`id` of the sea state, or `latest`' }),
  },
  closed,
);

const picture = <const P extends string>(path: P, summary: string) => ({
  method: 'GET' as const,
  path: `/api/v1/cameras/{id}/sea-state/{record}/${path}` as const,
  summary,
  description: 'The newest clip has pictures. Those of former clips exist with `seaState.keepTimestacks`.',
  params: PictureParams,
  answers: [mediaAnswer(200, 'The PNG.', 'image/png')],
  errors: ['camera_unknown', 'sea_state_unknown', 'sea_state_picture_missing', ...STORE_READ_ERRORS] as const,
});

export const SEA_STATE_OPERATIONS = operations('cameras', {
  seaStates: {
    method: 'GET',
    path: '/api/v1/cameras/{id}/sea-state',
    summary: 'Returns the sea states of a camera, newest clip first: wave period and breaking.',
    params: CameraParams,
    query: pageQuery,
    answers: [jsonAnswer(200, 'One page.', SeaStatePage)],
    errors: ['camera_unknown', 'usage', ...STORE_READ_ERRORS],
  },
  seaStatesCsv: {
    method: 'GET',
    path: '/api/v1/cameras/{id}/sea-state.csv',
    summary: 'Returns the sea states of a camera as a table, newest clip first.',
    description: 'In the form of the table of observations.',
    params: CameraParams,
    query: tableQuery,
    answers: [mediaAnswer(200, 'The table.', 'text/csv')],
    errors: ['camera_unknown', ...STORE_READ_ERRORS],
  },
  measureSeaState: {
    method: 'POST',
    path: '/api/v1/cameras/{id}/sea-state',
    summary: 'Measures the sea state in one clip now.',
    description:
      'The answer comes when the clip has ended, after some minutes. A clip without a period is an answer too.',
    params: CameraParams,
    query: Type.Object(
      { durationS: Type.Optional({ ...ClipDuration, description: 'default: `seaState.durationS`' }) },
      closed,
    ),
    answers: [jsonAnswer(200, 'The record, with any status.', SeaStateRecord)],
    errors: [
      'camera_unknown',
      'sea_state_unavailable',
      'sea_state_busy',
      'vision_closed',
      'command_timeout',
      ...STORE_WRITE_ERRORS,
    ],
  },
  seaStateTimestack: picture('timestack.png', 'Returns the time stack of a clip.'),
  seaStateSpectrum: picture('spectrum.png', 'Returns the spectrum of a clip, with its peak and interval.'),
});
