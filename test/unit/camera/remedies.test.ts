import { describe, expect, it } from 'vitest';
import { ERROR_CODES } from '../../../src/base/errors.ts';
import { CAUSE_REMEDIES, REMEDIES } from '../../../src/camera/remedies.ts';
import { CAMERA_KINDS } from '../../../src/config/schema.ts';

const CODES = Object.keys(ERROR_CODES).filter(
  (code) => code.startsWith('camera_') && code !== 'camera_unknown',
) as (keyof (typeof REMEDIES)['http'])[];

/** Combinations that do not exist. */
const IMPOSSIBLE: Readonly<Record<(typeof CAMERA_KINDS)[number], readonly string[]>> = {
  simulated: [
    'camera_auth',
    'camera_certificate',
    'camera_unreachable',
    'camera_codec',
    'camera_no_frame',
    'camera_command',
    'camera_program_missing',
  ],
  rtsp: ['camera_command'],
  hls: ['camera_command'],
  http: ['camera_command', 'camera_program_missing'],
  v4l2: ['camera_auth', 'camera_certificate', 'camera_command'],
  video: ['camera_auth', 'camera_certificate', 'camera_command'],
  directory: ['camera_auth', 'camera_certificate', 'camera_command', 'camera_program_missing'],
  command: ['camera_auth', 'camera_certificate', 'camera_unreachable', 'camera_ended'],
};

/** Words that belong to other kinds of cameras. */
const FOREIGN: Readonly<Record<(typeof CAMERA_KINDS)[number], RegExp>> = {
  simulated: /url|path|cable|password|ffmpeg|H\.264|command|USB|restart the camera/,
  rtsp: /\bpath\b|browser|USB|directory|command|replay/,
  hls: /\bpath\b|browser|USB|directory|command|replay|restart the camera/,
  http: /H\.26|USB|directory|command|replay|ffmpeg|playlist/,
  v4l2: /url|password|browser|H\.264|directory|command|replay|firewall/,
  video: /url|password|browser|cable|USB|directory|command|firewall|restart/,
  directory: /url|password|browser|cable|USB|H\.264|command|firewall|ffmpeg/,
  command: /url|password|browser|cable|USB|H\.264|directory|replay|firewall|ffmpeg/,
};

describe.each(CAMERA_KINDS)('the remedies of a camera of kind %s', (kind) => {
  it.each(CODES)('%s', (code) => {
    const remedy = REMEDIES[kind][code];
    expect(remedy === null).toBe(IMPOSSIBLE[kind].includes(code));
    if (remedy === null) return;
    expect(remedy.length).toBeGreaterThan(20);
    expect(remedy).not.toMatch(FOREIGN[kind]);
  });
});

it.each(Object.entries(CAUSE_REMEDIES))(
  'the remedy of %s names no cable and no video format',
  (_, remedy) => {
    expect(remedy).not.toMatch(/cable|power|H\.26/);
  },
);
