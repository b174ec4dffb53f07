import type { AgentError } from '../../base/errors.ts';
import type { EventDraft } from '../../store/types.ts';
import type { CalibrationForecast, InstallRecord } from '../types.ts';

/** What every event and line about an install carries. */
export const label = (install: InstallRecord): Record<string, unknown> => ({
  update_id: install.updateId,
  name: install.name,
  version: install.version,
  digest: install.candidate?.digest ?? install.digest,
  phase: install.phase,
});

export const goodEvent = (
  type: 'model_install_started' | 'model_install_committed',
  install: InstallRecord,
  what: string,
): EventDraft => ({
  type,
  severity: 'info',
  code: type,
  message: `${install.name} ${install.version} ${what}.`,
  context: label(install),
});

export type BadEnd = 'failed' | 'rolled_back';

/** `install` as it was before its end: the event names the phase in which it failed. */
export const badEnd = (end: BadEnd, install: InstallRecord, error: AgentError): EventDraft => ({
  type: `model_install_${end}`,
  severity: error.code === 'model_install_aborted' ? 'info' : 'error',
  code: error.code,
  message: error.message,
  context: { ...(error.code.startsWith('model_') ? error.context : {}), ...label(install) },
});

export const calibrationLost = (
  install: InstallRecord,
  { camera, labels }: CalibrationForecast,
): EventDraft => ({
  type: 'model_calibration_lost',
  severity: 'warning',
  code: 'model_calibration_lost',
  message: 'With the new model this camera has no calibration until it sees new labelled pictures.',
  context: { ...label(install), camera, labels },
});
