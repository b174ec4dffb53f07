import type { Settings } from '../../config/schema.ts';
import type { Finding } from '../../control/doctor/finding.ts';
import type { Terminal } from '../terminal.ts';

export interface DoctorContext {
  readonly settings: Settings;
  readonly terminal: Terminal;
}

/** Checks one part. An error that it throws becomes a finding. */
export type Check = (context: DoctorContext) => Iterable<Finding> | AsyncIterable<Finding>;
