import { systemTimeZone } from '../../base/time-zone.ts';
import { okFinding, type CheckContext, type Finding } from '../../control/doctor/finding.ts';
import { nextSlots } from '../config.ts';

export async function* checkTimeZone({ settings }: CheckContext): AsyncGenerator<Finding> {
  yield okFinding('time zone', systemTimeZone());
  for (const [id, times] of await nextSlots(settings)) yield okFinding(`slots of ${id}`, times.join(', '));
}
