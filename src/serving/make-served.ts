import type { Clock } from '../base/clock.ts';
import type { Settings } from '../config/schema.ts';
import { AgentError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { RaiseEvent } from '../store/types.ts';
import { VisionProcess } from '../vision/client.ts';
import type { PlanSource } from '../vision/client-options.ts';
import { ServedModel, type ChosenBundle } from './served-model.ts';
import { visionEvent } from './vision-events.ts';

export interface MakeServedDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly raise: RaiseEvent;
  /** Another model serves while it starts. */
  readonly beside: boolean;
  /** The process ended or was stopped, while it served. */
  readonly onExit: (error: AgentError) => void;
}

const MAX_QUEUE = 32;

/** A model that can be started to serve, with a process of full rank. Its events are raised while it is no former one. */
export function makeServed(
  chosen: ChosenBundle,
  ladder: PlanSource,
  { timeoutS, maxRssMb }: Settings['inference'],
  { clock, log, raise, beside, onExit }: MakeServedDeps,
): ServedModel {
  const process = new VisionProcess(
    { bundle: chosen.bundle, plan: null, timeoutS, maxRssMb, queueMax: MAX_QUEUE, startsBeside: beside },
    {
      clock,
      log,
      ladder,
      onEvent: (event) => {
        if (event.type === 'exited') made.ended();
        if (made.isFormer) return;
        const draft = visionEvent(event);
        if (draft) raise(draft);
        if (event.type === 'exited') onExit(new AgentError(event.code, event.detail));
      },
    },
  );
  const made: ServedModel = new ServedModel(chosen, process, { clock });
  return made;
}
