import type { GreyPicture } from '../vision/protocol.ts';
import type { Shift } from './layout.ts';
import { findFault, type PictureFault } from './picture-quality.ts';
import { SwayTracker } from './sway.ts';
import type { ClipFindings } from './types.ts';

/** What one picture of a clip says besides its cells. */
export interface PictureFinding {
  /** Shift that the cells must follow. */
  readonly shift: Shift;
  readonly isRegistered: boolean;
  readonly hasMoved: boolean;
  /** Null without a fault, and for pictures that were not checked. */
  readonly fault: PictureFault | null;
  readonly isChecked: boolean;
}

/** Each eighth picture is checked for fog, glare and obstructions: they last. */
const CHECK_EVERY = 8;
/** Share of the registered pictures of a view with a static part. */
const MIN_REGISTERED_SHARE = 0.5;

/** Looks at the pictures of a camera one after the other: their shift by sway, moves of the view, faults. */
export class ClipPictures {
  readonly #sway = new SwayTracker();
  #count = 0;

  add(picture: GreyPicture): PictureFinding {
    const isChecked = this.#count % CHECK_EVERY === 0;
    this.#count += 1;
    return { ...this.#sway.add(picture), isChecked, fault: isChecked ? findFault(picture) : null };
  }
}

/** What the pictures of a clip say about it. */
export function summariseFindings(findings: readonly PictureFinding[]): ClipFindings {
  const checked = findings.filter(({ isChecked }) => isChecked);
  const faults = (['fog', 'glare', 'obstructed'] as const).filter(
    (fault) => checked.filter((finding) => finding.fault === fault).length > checked.length / 2,
  );
  const registered = findings.filter(({ isRegistered }) => isRegistered).length;
  return {
    faults,
    hasMoved: findings.some(({ hasMoved }) => hasMoved),
    isRegistered: registered >= MIN_REGISTERED_SHARE * findings.length,
  };
}
