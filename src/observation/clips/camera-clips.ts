import { AgentError } from '../../base/errors.ts';
import type { SeaStatePicture, SeaStateRecord } from '../../contract/sea-state.ts';
import type { ClipRunner } from './clip-runner.ts';

type Runners = ReadonlyMap<string, { readonly clips: ClipRunner | null }>;

/** The clips of all cameras, as commands and HTTP ask for them. */
export class CameraClips {
  readonly #runners: Runners;

  constructor({ runners }: { readonly runners: Runners }) {
    this.#runners = runners;
  }

  /** Takes one clip now. Rejects with `sea_state_unavailable`, and as `ClipRunner.measure` does. */
  async measure(camera: string, durationS: number | null, signal: AbortSignal): Promise<SeaStateRecord> {
    const clips = this.#runners.get(camera)?.clips;
    if (!clips) throw new AgentError('sea_state_unavailable', `the camera ${camera} takes no clips`);
    return await clips.measure(durationS, signal);
  }

  /** The picture of a clip as PNG; null when it is neither the newest one nor kept. */
  async picture({ camera, id }: SeaStateRecord, picture: SeaStatePicture): Promise<Uint8Array | null> {
    return (await this.#runners.get(camera)?.clips?.figure(id, picture)) ?? null;
  }
}
