import { isoTime, type Clock } from '../base/clock.ts';
import { schemaChecker } from '../base/schema-checker.ts';
import { TideLevel } from '../contract/tide.ts';
import type { CameraGeometry } from '../geometry/camera-geometry.ts';
import type { KeyValue } from '../store/types.ts';

export interface TideSetting {
  /** Mean sea level in the heights of the geometry, metres; in place of `geometry.tide.offsetM`, until it is set again. */
  readonly offsetM: number | null;
  /** Level above mean sea level, metres; used where none is predicted. */
  readonly heightM: number | null;
  /** For how long `heightM` holds, seconds. */
  readonly validS: number;
}

const KEY = 'tide';
const isTideLevel = schemaChecker({ strict: false, validateFormats: false }).compile<TideLevel>(TideLevel);

/** The level of the water: predicted from the geometry of a camera, or as people set it by command. */
export class WaterLevel {
  readonly #clock: Clock;
  readonly #memory: KeyValue;

  constructor(deps: { readonly clock: Clock; readonly memory: KeyValue }) {
    this.#clock = deps.clock;
    this.#memory = deps.memory;
  }

  /** Sets the offset, or the height for a time; the other of the two stays. Survives a restart. Throws `store_failed`. */
  set({ offsetM, heightM, validS }: TideSetting): TideLevel {
    const before = this.#read();
    const validUntilMs = this.#clock.nowMs() + validS * 1000;
    const after = {
      offset_m: offsetM ?? before.offset_m,
      height_m: heightM ?? before.height_m,
      valid_until: heightM === null ? before.valid_until : isoTime(validUntilMs),
    };
    this.#memory.set(KEY, JSON.stringify(after));
    return after;
  }

  /** Level of the water in the heights of the geometry, metres; null when it is unknown. `timeMs` is null without a set clock. */
  levelAt(geometry: CameraGeometry, timeMs: number | null): number | null {
    const { offset_m, height_m, valid_until } = this.#read();
    const isValid = valid_until !== null && this.#clock.nowMs() < Date.parse(valid_until);
    return geometry.levelAt(timeMs, { offsetM: offset_m, heightM: isValid ? height_m : null });
  }

  #read(): TideLevel {
    const stored: unknown = JSON.parse(this.#memory.get(KEY) ?? 'null');
    return isTideLevel(stored) ? stored : { offset_m: null, height_m: null, valid_until: null };
  }
}
